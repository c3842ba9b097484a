"""The ports of the secret broker: what gives out credentials, and who remembers to whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from portcullis.core.behalf import Behalf
from portcullis.core.ports import SecretSource
from portcullis.core.secret import Secret


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A secret that was given out. ``version`` names the value without saying it."""

    reference: str
    version: str
    secret: Secret


class Broker(Protocol):
    """Gives credentials to what sends requests, and notes each use.

    ``lease`` returns the value in force of a whole reference (``env:NAME``) for ``upstream``;
    ``scope`` says what for (a tool, a model, a rule's name), ``behalf`` for whom. It notes the
    use, in the call's record too (``core.secret_use.holder``). Raises Problem PC5007 when there is
    none, PC5065 for one that nobody may use (a honeytoken), PC5066 when uses can no longer be
    noted. ``newer`` is asked after an upstream refused a lease (401, 403): it returns another
    version with which it is worth trying once more, or None.
    """

    async def lease(
        self, reference: str, *, upstream: str, scope: str = "", behalf: Behalf | None = None
    ) -> Lease: ...
    async def newer(
        self, lease: Lease, *, upstream: str, scope: str = "", behalf: Behalf | None = None
    ) -> Lease | None: ...


@runtime_checkable
class Forgets(Protocol):
    """A source with a memory; ``forget`` has the next ``resolve`` look anew."""

    def forget(self, reference: str) -> None: ...


class RemoteSource(SecretSource, Forgets, Protocol):
    """A source behind a network. Its calls block, but for ``ready`` and ``forget``.

    ``resolve`` asks the server unless it has a fresh answer. ``ready`` returns that answer, or
    None. ``leased`` says whether a secret came with a lease, so that asking anew makes another.
    ``tend`` renews what is due and drops what
    is no longer fresh; it raises nothing but what is to be told in a log line (a Problem).
    ``close`` gives back what the server lent.
    """

    def ready(self, reference: str) -> Secret | None: ...
    def leased(self, reference: str) -> bool: ...
    def tend(self) -> None: ...
    def close(self) -> None: ...


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """Uses of one version of a secret by one agent in one session, of one upstream and scope.

    Times are seconds since the epoch; ``agent`` is empty for the gate's own.
    """

    reference: str
    version: str
    agent: str
    session: str
    upstream: str
    scope: str
    first: float
    last: float
    count: int


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """That a secret was to be rotated: when, what came of it, the code of what went wrong.

    One that was not ``rotated`` and has no ``fault`` says since when a secret is known.
    """

    reference: str
    at: float
    rotated: bool
    verified: bool
    fault: str = ""


class Leases(Protocol):
    """Who used which secret, and when which was rotated; durable. Every method blocks.

    ``add`` merges uses with those that are there (first, last, count). ``uses`` returns them,
    newest first, of an agent, a reference, or all, that were last made since a time.
    ``forget`` drops uses that were last made before a time. ``rotations`` returns the newest
    rotation of each reference. ``changes`` counts the rotations, also by other processes.
    Problem PC9002 when the store cannot be used.
    """

    def add(self, uses: Sequence[Use]) -> None: ...
    def uses(
        self, *, agent: str = "", reference: str = "", since: float = 0.0
    ) -> tuple[Use, ...]: ...
    def forget(self, before: float) -> int: ...
    def rotated(self, rotation: Rotation) -> None: ...
    def rotations(self) -> dict[str, Rotation]: ...
    def changes(self) -> int: ...
