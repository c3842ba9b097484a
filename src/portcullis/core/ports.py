"""The ports: what the line needs from outside, and what an adapter must guarantee.

Every adapter of a port passes the port's shared contract suite in ``tests/contract``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from portcullis.core.behalf import Behalf
from portcullis.core.call import Call, Context, ToolSpec
from portcullis.core.credential import Presented
from portcullis.core.event import Event
from portcullis.core.inspection import Profile
from portcullis.core.lifecycle import State
from portcullis.core.principal import Principal, PrincipalKind, Session
from portcullis.core.secret import Secret
from portcullis.core.verdict import Allow, Deny


class Clock(Protocol):
    """Time. ``now`` is seconds since the epoch; ``monotonic`` never goes back."""

    def now(self) -> float: ...
    def monotonic(self) -> float: ...


class Authenticator(Protocol):
    """Turns what a request presents into a principal.

    ``authenticate`` raises a Problem of the range PC2 for anything that is not a valid, unexpired
    credential of ours whose holder has shown that it is his. It is called on every request: it
    must cache the verification of tokens by digest and cost microseconds on a hit; it never
    caches a refusal, never answers from a cache past expiry, and checks the binding every time.
    Unless ``spend``, a proof that is good once is not used up: whoever asks so passes the request
    on to another gateway, where it is. ``authenticated`` is the same, with ``spend``, for who can
    wait: what was used may be remembered in a server that all gateways share.
    """

    def authenticate(self, presented: Presented, *, spend: bool = True) -> Principal: ...
    async def authenticated(self, presented: Presented) -> Principal: ...


class KeyManager(Protocol):
    """Holds key-encryption keys that never leave it, and wraps data keys under the newest.

    ``context`` is authenticated with the key: what was wrapped for one purpose does not unwrap
    for another. ``unwrap`` raises Problem PC7010 for anything that was not wrapped here under
    this context. ``rotate`` makes a new key for what is wrapped from now on and returns its
    version; older versions go on to unwrap. ``version`` is the one in use. All calls block.
    """

    @property
    def version(self) -> str: ...
    def wrap(self, key: bytes, context: bytes) -> bytes: ...
    def unwrap(self, wrapped: bytes, context: bytes) -> bytes: ...
    def rotate(self) -> str: ...


SEALED: Final = b"\0PCS1"
"""What every sealed value begins with; no text and no MessagePack map begins so."""


class Sealer(Protocol):
    """Encrypts what is at rest (AES-256-GCM under data keys that a ``KeyManager`` wraps).

    ``purpose`` says what it is and where it lies (``file:issuer``, ``sessions:ID``): it is
    authenticated, so a sealed value moved elsewhere does not open. ``open`` raises Problem PC7010.
    ``current`` says whether a sealed value is under the newest key.
    """

    def seal(self, plaintext: bytes, purpose: str) -> bytes: ...
    def open(self, sealed: bytes, purpose: str) -> bytes: ...
    def current(self, sealed: bytes) -> bool: ...


class KillFeed(Protocol):
    """Who is cut off. Consulted on every request and every chunk: O(1), in memory.

    ``stale`` is True when the feed may have missed something: then everything is denied.
    ``reason`` returns why this principal, its credential, its role, anyone on whose behalf it acts,
    or the session is cut off, or None. ``isolated`` returns why the agent, anyone on whose behalf
    it acts, or the session is isolated, so that only what quarantine allows may go on, or None.
    ``subscribe`` has ``changed`` called, on the loop and at once, after every change that can cut
    somebody off or isolate him, also one that another process made, and when it becomes stale.
    """

    def stale(self) -> bool: ...
    def reason(self, principal: Principal, session: Session | None) -> str | None: ...
    def isolated(self, principal: Principal, session: Session | None) -> str | None: ...
    def subscribe(self, changed: Callable[[], None]) -> None: ...


class PrincipalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A principal as it is registered.

    ``purpose`` says what it is for, ``review_at`` (seconds since the epoch, 0 for never) when it
    expires unless somebody reviews it. ``spiffe_id`` is an identity of another trust domain that
    also stands for it, or empty. Credentials made before ``rotated_at`` are no longer good.
    ``users`` are names by which applications and policies know an operator as a user.
    """

    kind: PrincipalKind
    id: str
    owner: str
    state: State
    roles: tuple[str, ...]
    created_at: float
    purpose: str = ""
    review_at: float = 0.0
    spiffe_id: str = ""
    rotated_at: float = 0.0
    users: tuple[str, ...] = ()


class Directory(Protocol):
    """The registered principals, durable. Every method blocks.

    ``create`` raises Problem PC2009 when (kind, id) or the ``spiffe_id`` exists. ``get`` and
    ``named`` (by foreign SPIFFE ID) return None for unknown. ``put`` replaces the record of a
    registered principal and returns False when there is none. ``due`` returns those whose review
    date has come and that can still expire. A write that returned survives a crash.
    """

    def create(self, record: PrincipalRecord) -> None: ...
    def get(self, kind: PrincipalKind, principal_id: str) -> PrincipalRecord | None: ...
    def named(self, spiffe_id: str) -> PrincipalRecord | None: ...
    def list(self, kind: PrincipalKind | None = None) -> tuple[PrincipalRecord, ...]: ...
    def due(self, now: float) -> tuple[PrincipalRecord, ...]: ...
    def put(self, record: PrincipalRecord) -> bool: ...


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A registration entry, as in SPIRE: a workload that has all ``selectors`` is the principal.

    Selectors look like ``unix:uid:1000`` or ``k8s:sa:default``; there is at least one.
    ``ttl_seconds`` is the longest life of its SVIDs, 0 for the configured one.
    """

    id: str
    kind: PrincipalKind
    principal: str
    selectors: tuple[str, ...]
    ttl_seconds: int
    created_at: float


class Registrations(Protocol):
    """Who may become whom: registration entries and one-time join tokens. Every method blocks.

    ``join`` keeps the SHA-256 of a join token; ``joining`` says whom it stands for, or None when it
    is unknown, used or past its time; ``joined`` says the same and consumes it, once and for all.
    ``forget`` makes all join tokens of a principal useless.
    ``entries`` returns all entries; ``remove`` returns False for an unknown one.
    ``version`` changes with every change of the entries, also one by another process.
    """

    def version(self) -> int: ...
    def entries(self) -> tuple[Entry, ...]: ...
    def add(self, entry: Entry) -> None: ...
    def remove(self, entry_id: str) -> bool: ...
    def join(
        self, digest: bytes, kind: PrincipalKind, principal_id: str, expires_at: float
    ) -> None: ...
    def joining(self, digest: bytes, now: float) -> tuple[PrincipalKind, str] | None: ...
    def joined(self, digest: bytes, now: float) -> tuple[PrincipalKind, str] | None: ...
    def forget(self, kind: PrincipalKind, principal_id: str) -> None: ...


class OperatorCredential(msgspec.Struct, frozen=True, kw_only=True):
    """What a local operator logs in with.

    ``password`` is a PHC string of Argon2id, ``totp`` the sealed secret (purpose
    ``operators:NAME``), ``counter`` the time step of the last one-time code that was used.
    """

    name: str
    password: str
    totp: bytes
    counter: int = 0
    failures: int = 0
    locked_until: float = 0.0


class Operators(Protocol):
    """The credentials of local operators, durable. Every method blocks.

    ``spend`` uses a code up: it stores ``counter``, sets the failures to 0 and returns True only
    when ``counter`` is beyond the one stored, however many ask at once. ``failed`` stores the
    count of failures and the time until which nobody gets in; it ignores an unknown name.
    """

    def get(self, name: str) -> OperatorCredential | None: ...
    def put(self, credential: OperatorCredential) -> None: ...
    def remove(self, name: str) -> bool: ...
    def spend(self, name: str, counter: int) -> bool: ...
    def failed(self, name: str, failures: int, locked_until: float) -> None: ...


class Once(Protocol):
    """Remembers what may be used only once: proofs, JWT-SVIDs. In memory and bounded.

    ``spend`` returns True the first time that it sees ``key`` and False again until ``until``
    (seconds since the epoch); when it can hold no more, it returns False: nobody gets in. One
    ``holder``, where it is known, has only a share of the room, so that it cannot lock out others.
    ``since`` is when its memory began, in seconds since the epoch: what was made before may have
    been used, so whoever asks refuses it. ``spent`` is ``spend`` for who can wait: where the memory
    is elsewhere, the other blocks for one answer.
    """

    @property
    def since(self) -> float: ...
    def spend(self, key: bytes, until: float, holder: str = "") -> bool: ...
    async def spent(self, key: bytes, until: float, holder: str = "") -> bool: ...


class SecretSource(Protocol):
    """Resolves one scheme of secret references, such as ``env:NAME``.

    ``resolve`` gets what follows the scheme and returns the secret without surrounding white
    space, the same object for as long as it is unchanged; or it raises Problem PC5007 (PC5067 of
    a server) whose detail names the reference and never the value.
    """

    def resolve(self, reference: str) -> Secret: ...


class Recorder(Protocol):
    """The audit log as the line sees it. It is the only writer of its log.

    ``durable`` returns when the event would survive a power cut, or raises Problem PC6001.
    ``enqueue`` returns at once: the event rides the bounded queue to the next group commit; it
    raises Problem PC6001 when the queue is full or the writer has failed. Order is kept.
    ``commitment`` returns ``hmac-sha256:`` hex of ``value`` under the key of ``subject``.
    ``failure`` says why nothing can be recorded any more; empty while all is well. ``witnessed``
    returns when witnesses have vouched for all that is durable now, or raises Problem PC6007.
    """

    @property
    def failure(self) -> str: ...
    async def durable(self, event: Event) -> None: ...
    async def witnessed(self) -> None: ...
    def enqueue(self, event: Event) -> None: ...
    def commitment(self, subject: str, value: bytes) -> str: ...


class PolicyDecisionPoint(Protocol):
    """Decides by the policy in force. Any error or undefined answer is a Deny.

    ``decide`` judges a call with its arguments; its Allow carries rule, risk and the argument
    names that may stand in the log in clear. ``visible`` says which of a server's tools,
    resources or prompts an agent may be shown: those some call of which could be allowed.
    ``digest`` names the policy in force (``sha256:`` hex of the compiled bundle).
    ``profile`` says what is done with what inspection finds for this caller; on any error it is
    the strictest there is. It is asked on every call and remembers its answers. ``lasting`` says
    whether a decision for this caller may take long: then it is asked for beside the event loop.
    ``decide`` may be called on any thread.
    """

    @property
    def digest(self) -> str: ...
    def decide(self, call: Call, context: Context) -> Allow | Deny: ...
    def visible(
        self, kind: str, server: str, names: Sequence[str], context: Context
    ) -> frozenset[str]: ...
    def profile(self, context: Context) -> Profile: ...
    def lasting(self, context: Context) -> bool: ...


class Inventory(Protocol):
    """What tools each server offers, as last seen in a full tools/list.

    ``listed`` takes note of the tools of a list, or with ``whole`` unset of a page of one, and
    returns the names of those that may be shown and called. ``learn`` replaces the server's
    tools; a schema that cannot be compiled makes that tool unusable (it is refused), never
    unvalidated. ``refusal`` says why a tool may not be called, whatever its arguments (it is
    another than the one that was approved). ``due`` says whether to list the server's tools once
    more before a call of this one is refused: at most once in a while for all callers together.
    ``validate`` returns the paths and rules that the arguments break (no values), an empty tuple
    when they fit; it raises KeyError for an unknown tool. ``validate_output`` is the same for a
    structured result of a tool as it was when it was called; without a schema all fits.
    ``tolerated`` says which rules of suspicious values policy has switched off in which of a
    tool's top-level arguments.

    A toolset's tools are described by the agents that call them, one at a time. ``offered`` takes
    note of one, which replaces what is known of that tool only where it is as approved;
    ``declined`` is why it did not, None where nothing was offered or the reason is gone.
    """

    def known(self, server: str) -> bool: ...
    def learn(self, server: str, tools: Sequence[ToolSpec]) -> None: ...
    async def listed(
        self, server: str, tools: Sequence[ToolSpec], *, whole: bool
    ) -> frozenset[str]: ...
    async def offered(self, server: str, tool: ToolSpec) -> None: ...
    def declined(self, server: str, tool: ToolSpec) -> Deny | None: ...
    def forget(self, server: str) -> None: ...
    def refusal(self, server: str, name: str) -> Deny | None: ...
    def due(self, server: str, name: str) -> bool: ...
    def tool(self, server: str, name: str) -> ToolSpec | None: ...
    def validate(self, server: str, name: str, arguments: Mapping[str, Any]) -> tuple[str, ...]: ...
    def validate_output(self, server: str, tool: ToolSpec, value: Any) -> tuple[str, ...]: ...
    def tolerated(self, server: str, tool: str) -> Mapping[str, frozenset[str]]: ...


class UpstreamRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What goes out. ``path`` is below the upstream's base URL; headers are already clean.

    The credential is not here: the forwarder puts it in, after the last check. ``behalf`` is for
    whom it goes out, None where the gate asks for itself; ``scope`` is the tool or model that is
    called, empty for what the gate asks by itself.
    """

    upstream: str
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    behalf: Behalf | None = None
    scope: str = ""


class UpstreamResponse(Protocol):
    """What comes back. Close it in every case; closing early aborts the upstream call.

    ``headers`` are lower-cased, hop-by-hop headers and cookies removed. ``read`` returns the
    whole body or raises Problem PC5004 beyond the limit, PC5002 past the time limit, PC5008 when
    the peer broke off. ``chunks`` yields pieces as they arrive, with the same errors. Both raise
    Problem PC5005, before passing it on, when the answer holds the credential that was sent.
    """

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    async def read(self) -> bytes: ...
    def chunks(self) -> AsyncIterator[bytes]: ...
    def close(self) -> None: ...


class Forwarder(Protocol):
    """Sends requests to upstreams named in the configuration, over reused connections.

    ``send`` raises Problem PC5001 (unreachable), PC5002 (no answer head in time), PC5006 (too
    many calls in flight to this upstream), PC5007 (no credential), PC5012 (unknown upstream).
    It never follows redirects, never decompresses beyond the result limit, and sends again only
    what an upstream refused for its credential (401, 403) when there is a newer one, once.
    """

    async def send(self, request: UpstreamRequest) -> UpstreamResponse: ...
    async def close(self) -> None: ...


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON-RPC message from a server, with the SSE event id it came under, if any."""

    message: dict[str, Any]
    event_id: str | None = None


class Channel(Protocol):
    """One conversation with one MCP server, on behalf of one agent (session).

    ``request`` sends a JSON-RPC request and yields what belongs to it, ending with the response
    (a message with ``result`` or ``error``); a JSON-RPC error is a message, not an exception.
    Leaving the iterator early cancels the request upstream. ``notify`` sends a notification or
    a response to a request of the server's. ``listen`` yields what the server sends outside a
    request (legacy GET stream), resuming after ``last_event_id`` where the server can.
    Faults are Problems of the PC5 range. ``close`` ends the upstream session or process, a
    process ``at_once`` without a moment to end by itself.
    ``headers`` are the MCP headers that the gate computed from the body it decided on.
    ``alive`` is unset once the session or process behind it has ended: no request gets anywhere.
    """

    @property
    def alive(self) -> bool: ...
    def request(
        self, message: dict[str, Any], headers: Mapping[str, str]
    ) -> AsyncIterator[Incoming]: ...
    async def notify(self, message: dict[str, Any], headers: Mapping[str, str]) -> None: ...
    def listen(self, last_event_id: str | None) -> AsyncIterator[Incoming]: ...
    async def close(self, *, at_once: bool = False) -> None: ...


class Channels(Protocol):
    """Opens channels to the MCP servers of the configuration (HTTP, stdio, tools of our own).

    ``key`` separates conversations: two keys never share a process or an upstream session.
    A modern (stateless) conversation has the agent's session as its key, a legacy one the
    downstream MCP session. Raises Problem PC5012 for an unknown server, PC5006 beyond the
    configured number of live processes, PC5011 when the process does not start, PC5030 to PC5032
    when its box cannot be had, PC5041 while a server that ended by itself rests, PC5042 outside a
    session where there has to be one. ``spawns`` says whether each channel to a server is a process
    of its own. ``behalf`` is for whom the conversation is: all that goes out over the channel does
    so on that behalf.
    """

    def servers(self) -> tuple[str, ...]: ...
    def spawns(self, server: str) -> bool: ...
    async def open(
        self, server: str, key: str, *, legacy: bool, behalf: Behalf | None = None
    ) -> Channel: ...
    async def close(self) -> None: ...
