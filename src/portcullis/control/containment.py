"""How principals are cut off: the kill feed as the control plane uses it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Final, Protocol, TypeVar

import structlog

from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.feed import CutScope, IsolationScope, Kept, Relay, Standing, Told
from portcullis.core.lifecycle import TRANSITIONS, State
from portcullis.core.ports import KillFeed, PrincipalRecord
from portcullis.core.principal import Principal, PrincipalKind

log = structlog.get_logger(__name__)

_T = TypeVar("_T")

CUTTING: Final = {
    verb: state
    for (_, verb), state in TRANSITIONS.items()
    if all(result is not State.ACTIVE for (_, same), result in TRANSITIONS.items() if same is verb)
}
"""The verbs that always cut somebody off, and the state that they lead to."""
LIVING: Final = frozenset(state for state, _ in TRANSITIONS)
"""Those of whom something is left that could change."""


class Containment(KillFeed, Protocol):
    """The kill feed with the ways to cut off and to take it back.

    ``hold`` (a state), ``outdate`` (credentials older than a time), ``sever`` and ``confine`` (the
    first halves of ``cut`` and ``isolate``) act at once, in memory, and are taken to every gateway;
    the first two return what takes it back. ``create`` and ``put`` make a record durable and then
    act on it, ``cut`` and ``isolate`` make a cut and an isolation durable, ``lift`` and ``release``
    take them back (False when there was none). ``kept`` lists both, ``standings`` is all that
    stands against anybody. ``acknowledged`` says what the gateways made of all that changed so far.
    ``changing`` is held by whoever reads a record to write it back. ``watch`` follows other
    processes until cancelled; ``relay`` is what takes changes to them. ``push`` acts on what
    another process published and ``pushed`` is all of that; ``lease`` says whether it is fresh, and
    ``lapsed`` that it may be so no more. ``by_role`` says which role an agent has,
    ``policy_changed`` that it may be another; ``has_role`` whether anybody has one, None where no
    policy is known.
    """

    changing: asyncio.Lock

    def by_role(  # noqa: D102 - the contract stands above
        self, roles_of: Callable[[str], str | None], roles: Callable[[], Collection[str]]
    ) -> None: ...
    def has_role(self, role: str) -> bool | None: ...  # noqa: D102 - the same
    def policy_changed(self) -> None: ...  # noqa: D102 - the same
    def registered(self, kind: PrincipalKind, principal_id: str) -> bool: ...  # noqa: D102
    def hold(  # noqa: D102 - the contract stands above, as in core.ports
        self, kind: PrincipalKind, principal_id: str, state: State
    ) -> Callable[[], None]: ...
    def outdate(  # noqa: D102 - the same
        self, kind: PrincipalKind, principal_id: str, at: float
    ) -> Callable[[], None]: ...
    def sever(self, scope: CutScope, value: str, reason: str) -> None: ...  # noqa: D102 - the same
    async def cut(  # noqa: D102 - the same
        self, scope: CutScope, value: str, reason: str, by: str = ""
    ) -> None: ...
    async def lift(self, scope: CutScope, value: str) -> bool: ...  # noqa: D102 - the same
    def confine(  # noqa: D102 - the same
        self, scope: IsolationScope, value: str, reason: str
    ) -> None: ...
    async def isolate(  # noqa: D102 - the same
        self, scope: IsolationScope, value: str, reason: str, by: str = ""
    ) -> None: ...
    async def release(self, scope: IsolationScope, value: str) -> bool: ...  # noqa: D102
    async def kept(self) -> tuple[Kept, ...]: ...  # noqa: D102 - the same
    def standings(self) -> tuple[Standing, ...]: ...  # noqa: D102 - the same
    async def acknowledged(self, seconds: float) -> tuple[Told, ...]: ...  # noqa: D102
    async def create(self, record: PrincipalRecord) -> None: ...  # noqa: D102 - the same
    async def put(self, record: PrincipalRecord) -> bool: ...  # noqa: D102 - the same
    async def watch(self, seconds: float = 0.1) -> None: ...  # noqa: D102 - the same
    def relay(self, relay: Relay | None) -> None: ...  # noqa: D102 - the same
    def push(  # noqa: D102 - the same
        self, standings: Iterable[Standing], *, whole: bool = False
    ) -> None: ...
    def pushed(self) -> tuple[Standing, ...]: ...  # noqa: D102 - the same
    def lease(self, fresh: Callable[[], bool] | None) -> None: ...  # noqa: D102 - the same
    def lapsed(self) -> None: ...  # noqa: D102 - the same


async def acting(work: Awaitable[_T]) -> _T:
    """Wait for what makes a cut durable; when that fails, say that the cut acts all the same.

    Raises Problem PC6001 (it has no record) or PC9002 (the database did not take it).
    """
    try:
        return await work
    except Problem as problem:
        if problem.code != "PC6001":
            raise
        detail = f"{problem.detail}; it acts all the same, without a record"
        raise Problem("PC6001", detail, hint="Make the log writable, and say it again.") from None
    except Exception:
        log.exception("cut_not_durable")
        raise Problem(
            "PC9002",
            "it acts in this process, but the database did not take it",
            hint="Say it again when the database can be written: a restart forgets this one.",
        ) from None


def nothing() -> None:
    """Nothing acted yet that would have to be taken back."""


def by_itself(now: float) -> Context:
    """What happens by itself is the gate's doing."""
    gate = Principal(kind=PrincipalKind.GATEWAY, id="gate", credential="", expires_at=math.inf)
    return Context(principal=gate, session=None, source="time", trace_id="", received_at=now)
