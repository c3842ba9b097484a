"""The gate as a client reaches it: which connection, which token, for which request."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec

from portcullis.client.ask import CUT, MUTE, ask, origin
from portcullis.client.dpop import Prover
from portcullis.client.identity import Identity, SystemClock
from portcullis.client.svid import Svid
from portcullis.client.tls import context
from portcullis.client.tokens import ACCESS_TOKEN, EXCHANGE, JWT, Token, TokenSource
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock

_LOOK_SECONDS: Final = 30.0
_DOUBT_SECONDS: Final = 0.05
"""Between two questions, however many doubts come."""


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How sure to be before an identity counts as cut off; times in seconds."""

    grace: float = 2.0
    """How long a newer SVID may take to come, as after ``agent rotate``."""
    again: float = 0.5
    """Between two questions that were not answered."""
    ended: int = 3
    """So many connections in a row that the gate ended say that it means us."""


class Granted(msgspec.Struct, frozen=True):
    """What a request carries: its headers, and the token in them, to say that it was refused."""

    token: str
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return "<Granted>"


class Link(Protocol):
    """One way to the gate: connections under ``context`` go with what ``grant`` gives.

    ``context`` is None for plain http. ``grant`` raises the gate's refusal, PC7011 to PC7013;
    ``spent`` is a token that the gate refused a moment ago.
    """

    @property
    def context(self) -> ssl.SSLContext | None: ...  # noqa: D102 - above
    async def grant(  # noqa: D102 - above
        self, method: str, url: str, delegation: str = "", *, spent: str = ""
    ) -> Granted: ...


class Access(Protocol):
    """What the transports stand on: the gate's origin, and the link for a request of now.

    A link stays usable after there is a newer one, for the requests that run over it.
    """

    @property
    def url(self) -> str: ...  # noqa: D102 - above
    def link(self) -> Link: ...  # noqa: D102 - above


class Gate:
    """The gate over mutual TLS, under an identity that renews itself. An ``Access``.

    Each SVID has its own TLS context and its own tokens, bound to it (RFC 8705): after a
    rotation new requests go over new connections with new tokens, and those that run finish
    where they are. ``scope`` narrows the tokens (``core.scope``). ``trust_domain`` is the
    gate's, when it is not the identity's own: then ``roots`` are its authorities.
    """

    def __init__(
        self,
        url: str,
        identity: Identity,
        *,
        scope: Iterable[str] = (),
        trust_domain: str = "",
        roots: Iterable[bytes] = (),
        clock: Clock | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.url = origin(url)
        if not self.url.startswith("https:"):
            raise Problem("PC7004", "an SVID is shown to a gate at https://")
        self.identity = identity
        self._scope = " ".join(scope)
        self._trust_domain = trust_domain
        self._roots = tuple(roots)
        self._clock = clock or SystemClock()
        self._patience = patience or Patience()
        self._link: _MutualTls | None = None
        self._doubt = asyncio.Event()

    def link(self) -> _MutualTls:
        """The link of the newest SVID. Raises Problem when there is none that is valid."""
        held = self.identity.current
        if self._link is None or self._link.svid is not held:
            tls = context(
                self._trust_domain or held.id.trust_domain, self._roots or held.roots, held
            )
            self._link = _MutualTls(self.url, held, tls, self._scope, self._clock)
        return self._link

    async def ready(self) -> Token:
        """The identity's own token: the gate knows us, and we know it."""
        return await self.link().own()

    def doubt(self) -> None:
        """Have ``cut_off`` ask the gate at once: it just refused something as cut off."""
        self._doubt.set()

    async def cut_off(self) -> Problem:
        """Keep a token at hand; return why when the identity is cut off or has run out.

        It is cut off when the gate says so, or ends one connection after the other, and no newer
        SVID comes.
        """
        spent, ended = "", 0
        while True:
            self._doubt.clear()
            try:
                used = self.identity.current
            except Problem as problem:
                return problem
            try:
                held = (await self.link().own(spent=spent)).value
            except Problem as problem:
                ended = ended + 1 if problem.code == MUTE else 0
                refused = problem.code in CUT or ended >= self._patience.ended
                if refused and not await self._succeeded(used):
                    return problem
                await asyncio.sleep(self._patience.again)
                continue
            spent, ended = "", 0
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._doubt.wait()
                await asyncio.sleep(_DOUBT_SECONDS)
                spent = held
            except TimeoutError:
                spent = held if self.identity.failure is not None else ""

    async def _succeeded(self, used: Svid) -> bool:
        """Whether there is a newer SVID than the refused one."""
        try:
            async with asyncio.timeout(self._patience.grace):
                await self.identity.newer(used)
        except TimeoutError:
            return False
        return True


class _MutualTls:
    """The link of one SVID."""

    def __init__(self, url: str, svid: Svid, tls: ssl.SSLContext, scope: str, clock: Clock) -> None:
        self.svid = svid
        self.context = tls
        self._url = f"{url}/v1/token"
        self._scope = scope
        self._tokens = TokenSource(self._ask, clock)

    async def own(self, *, spent: str = "") -> Token:
        """The identity's own token."""
        return await self._tokens.token(spent=spent)

    async def grant(
        self, method: str, url: str, delegation: str = "", *, spent: str = ""
    ) -> Granted:
        """A token bound to this SVID."""
        del method, url
        token = await self._tokens.token(delegation, spent=spent)
        return Granted(token.value, {"authorization": f"Bearer {token.value}"})

    async def _ask(self, delegation: str) -> dict[str, Any]:
        form = {"grant_type": "client_credentials"}
        if delegation:
            form = {
                "grant_type": EXCHANGE,
                "subject_token": delegation,
                "subject_token_type": ACCESS_TOKEN,
            }
        if self._scope:
            form["scope"] = self._scope
        return await ask("POST", self._url, context=self.context, form=form)


class Assertions(Protocol):
    """Gives JWT-SVIDs of ours, a new one each time, such as the Workload API does."""

    async def assertion(self, audience: str) -> str: ...  # noqa: D102 - above


class LocalGate:
    """The gate on plain loopback, where a DPoP key takes the certificate's place. An ``Access``.

    ``assertions`` gives the JWT-SVIDs that show who we are; ``audience`` is the gate's SPIFFE
    ID. The key is made here and stays in memory; every request carries its proof (RFC 9449).
    """

    context = None

    def __init__(
        self,
        url: str,
        assertions: Assertions,
        *,
        audience: str,
        scope: Iterable[str] = (),
        clock: Clock | None = None,
    ) -> None:
        self.url = origin(url)
        clock = clock or SystemClock()
        self._assertions = assertions
        self._audience = audience
        self._scope = " ".join(scope)
        self._prover = Prover(clock)
        self._tokens = TokenSource(self._ask, clock)

    def link(self) -> LocalGate:
        """Itself: its key does not change."""
        return self

    async def grant(
        self, method: str, url: str, delegation: str = "", *, spent: str = ""
    ) -> Granted:
        """A token bound to the key, and the proof for this request."""
        token = (await self._tokens.token(delegation, spent=spent)).value
        proof = self._prover.proof(method, url, token)
        return Granted(token, {"authorization": f"DPoP {token}", "dpop": proof})

    async def _ask(self, delegation: str) -> dict[str, Any]:
        shown = await self._assertions.assertion(self._audience)
        form = {"grant_type": EXCHANGE, "subject_token": shown, "subject_token_type": JWT}
        if delegation:
            form |= {"subject_token": delegation, "subject_token_type": ACCESS_TOKEN}
            form |= {"actor_token": shown, "actor_token_type": JWT}
        if self._scope:
            form["scope"] = self._scope
        url = f"{self.url}/v1/token"
        proof = {"dpop": self._prover.proof("POST", url)}
        return await ask("POST", url, context=None, form=form, headers=proof)
