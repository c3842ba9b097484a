"""The kill switch: who is killed loses everything at once, and whoever killed hears who obeyed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final, Literal, Protocol, TypeVar

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from portcullis.control.approvals import ApprovalParts
from portcullis.control.containment import Containment
from portcullis.control.finishing import Finishing
from portcullis.control.records import Records
from portcullis.core.approval import Approval, State
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.feed import EVERYONE, Kept, KillScope, Told
from portcullis.core.ports import Clock, Directory
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.identity.orders import Order, OrderBook, SignedOrder, sign
from portcullis.oversight.keeping import Keeping

log = structlog.get_logger(__name__)

_T = TypeVar("_T")

ACKNOWLEDGE_SECONDS: Final = 1.0
"""How long gateways have to say that they acted."""
FIRST_SECONDS: Final = 0.02
"""How long gateways have the processors to themselves before it is recorded."""
DURABLE_SECONDS: Final = 2.0
"""How long whoever kills waits for record and database; they go on, and it acts already."""
UNSAID: Final = "killed by an operator"
KILLS: Final = frozenset({"agent", "session", "role", "all"})

_MOST: Final = 10_000
_OPEN: Final = (State.PENDING, State.APPROVED)


class Fault(msgspec.Struct, frozen=True):
    """What did not work about a kill that acts all the same."""

    code: str
    detail: str


class Killed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. ``cancelled`` is how many approvals were taken away.

    ``recorded`` and ``durable``: it stands in the log, and survives a restart. ``incident`` is the
    id of the one that is open about it, if that was asked for.
    """

    scope: str
    value: str
    reason: str
    gateways: tuple[Told, ...]
    cancelled: int = 0
    recorded: bool = True
    durable: bool = True
    faults: tuple[Fault, ...] = ()
    incident: str = ""


class Undone(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken back, and who acted on that."""

    scope: str
    value: str
    gateways: tuple[Told, ...]


_Done = TypeVar("_Done", Killed, Undone)


class Opening(Protocol):
    """What incidents have to do with kills.

    ``killed`` opens one about an agent or a session that was killed, where a playbook is named or
    the configuration says so, and returns its id, or that of the one that there is; else "".
    ``unheld`` raises Problem PC7063 while an incident holds somebody.
    """

    async def killed(  # noqa: D102 - the contract stands above
        self, context: Context, killed: Killed, playbook: str
    ) -> str: ...
    async def unheld(self, scope: str, value: str) -> None: ...  # noqa: D102 - the same


class Kills:
    """Kills and takes back. ``route`` names the face in the records.

    A kill acts in memory first and is then taken to every gateway, recorded and made durable; when
    one of these fails, it acts all the same and the answer says so. Taking back is recorded and
    durable before it acts. ``key`` signs orders about everything; None where it cannot be.
    ``heard`` is told what came of each, and when (seconds since the epoch).
    """

    def __init__(
        self,
        *,
        feed: Containment,
        directory: Directory,
        records: Records,
        clock: Clock,
        route: str,
        approvals: ApprovalParts | None = None,
        keeping: Keeping | None = None,
        orders: OrderBook | None = None,
        key: Ed25519PrivateKey | None = None,
        incidents: Opening | None = None,
        heard: Callable[[Killed | Undone, float], None] | None = None,
    ) -> None:
        self._incidents = incidents
        self._heard = heard
        self._feed = feed
        self._directory = directory
        self._records = records
        self._clock = clock
        self._route = route
        self._approvals = approvals
        self._keeping = keeping
        self._orders = orders
        self._key = key
        self._finish = Finishing()

    async def kill(
        self, context: Context, scope: KillScope, value: str, reason: str, playbook: str = ""
    ) -> Killed:
        """Cut off an agent, a session, a role's agents or everybody, and all that they have.

        ``value`` is empty or ``EVERYONE`` for ``all``. With a ``playbook`` an incident about an
        agent or a session is opened once it acts. Raises Problem PC2010 for an agent or a role that
        there is not.
        """
        value = await self._known(scope, value)
        reason = reason or UNSAID
        self._feed.sever(scope, value, reason)
        signed = self._signed(scope, "kill", reason, context.principal.id)
        done = await self._killed(context, scope, value, reason, signed)
        return self._noted(await self._opened(context, done, playbook))

    async def undo(self, context: Context, scope: KillScope, value: str, reason: str) -> Undone:
        """Take a kill back: the credentials that are good otherwise are good again.

        Raises Problem PC4004 when it is not killed, PC7063 while an incident holds it, PC6001 or
        PC9002 when that cannot be recorded or made durable: then it stays.
        """
        value = EVERYONE if scope == "all" else value
        if self._incidents is not None:
            await self._incidents.unheld(scope, value)
        signed = self._signed(scope, "undo", reason, context.principal.id)
        return self._noted(await self._finish(self._undone(context, scope, value, reason, signed)))

    async def standing(self) -> tuple[Kept, ...]:
        """Who is killed, the newest first; those that only this process knows of before them."""
        return tuple(
            one for one in await self._feed.kept() if one.scope in KILLS and not one.isolation
        )

    async def obey(self, signed: SignedOrder, source: str, trace: str) -> Killed | Undone:
        """Obey a signed order about everybody. Raises Problem PC4003, and those of ``undo``."""
        if self._orders is None:
            raise Problem("PC4003", "orders are for a running control plane")
        order = self._orders.accept(signed)
        context = self._ordered(order, source, trace)
        if order.verb == "undo":
            work = self._undone(context, "all", EVERYONE, order.reason, signed)
            return self._noted(await self._finish(work))
        self._feed.sever("all", EVERYONE, order.reason)
        return self._noted(await self._killed(context, "all", EVERYONE, order.reason, signed))

    async def _killed(
        self,
        context: Context,
        scope: KillScope,
        value: str,
        reason: str,
        signed: SignedOrder | None,
    ) -> Killed:
        """The rest of a kill that acts already."""
        telling = asyncio.ensure_future(self._feed.acknowledged(ACKNOWLEDGE_SECONDS))
        await asyncio.sleep(FIRST_SECONDS)
        said = self._records.act(
            context,
            "kills.kill",
            f"{scope}:{value}",
            route=self._route,
            parameters={"reason": reason},
        )
        work = (
            _within(self._finish(said), "PC6001", "it has no record"),
            _within(
                self._finish(self._kept(context, scope, value, reason, signed)),
                "PC9002",
                "a restart forgets it: the database did not take it",
            ),
            _within(
                self._finish(self._cancelled(reason)),
                "PC9002",
                "approvals of it could not be cancelled; they let nothing through",
            ),
        )
        recorded, durable, cancelled = await asyncio.gather(*work)
        faults = [one for one in (recorded, durable, cancelled) if isinstance(one, Fault)]
        for fault in faults:
            log.critical("kill_fault", scope=scope, value=value, code=fault.code)
        return Killed(
            scope=scope,
            value=value,
            reason=reason,
            gateways=await telling,
            cancelled=cancelled if isinstance(cancelled, int) else 0,
            recorded=not isinstance(recorded, Fault),
            durable=not isinstance(durable, Fault),
            faults=tuple(faults),
        )

    async def _opened(self, context: Context, done: Killed, playbook: str) -> Killed:
        """The same with the incident that was asked for, or why there is none."""
        if self._incidents is None:
            return done
        opening = self._finish(self._incidents.killed(context, done, playbook))
        found = await _within(opening, "PC9002", "no incident is open yet")
        if isinstance(found, Fault):
            return msgspec.structs.replace(done, faults=(*done.faults, found))
        return msgspec.structs.replace(done, incident=found)

    async def _kept(
        self,
        context: Context,
        scope: KillScope,
        value: str,
        reason: str,
        signed: SignedOrder | None,
    ) -> None:
        """Have a restart know of it; an order's own file is enough for that."""
        stored = self._feed.cut(scope, value, reason, context.principal.id)
        if signed is None or self._orders is None:
            await stored
            return
        storing = asyncio.ensure_future(self._finish(stored))
        storing.add_done_callback(_stored)
        await asyncio.to_thread(self._orders.keep, signed)
        await asyncio.wait((storing,), timeout=ACKNOWLEDGE_SECONDS)

    async def _cancelled(self, reason: str) -> int:
        """Cancel the approvals of whoever is cut off for this reason."""
        if self._approvals is None or self._keeping is None:
            return 0
        some = await asyncio.to_thread(self._approvals.store.list, _OPEN, _MOST)
        over = [one for one in some if self._feed.reason(_asker(one), None) == reason]
        await self._keeping.cancel(over)
        return len(over)

    async def _undone(
        self,
        context: Context,
        scope: KillScope,
        value: str,
        reason: str,
        signed: SignedOrder | None,
    ) -> Undone:
        key = (scope, value)
        why = next((one.reason for one in self._feed.standings() if one.key == key), "")
        if not why:
            raise Problem("PC4004", f"{scope}:{value} is not killed")
        await self._records.act(
            context,
            "kills.undo",
            f"{scope}:{value}",
            route=self._route,
            parameters={"reason": reason},
        )
        try:
            await self._cancelled(why)  # what was asked for since, or could not be cancelled then
            await self._feed.lift(scope, value)
        except Exception:
            log.exception("lift_not_durable")
            raise Problem("PC9002", "the database cannot be written: it stays killed") from None
        if signed is not None and self._orders is not None:
            await asyncio.to_thread(self._orders.keep, signed)
        told = await self._feed.acknowledged(ACKNOWLEDGE_SECONDS)
        return Undone(scope=scope, value=value, gateways=told)

    async def _known(self, scope: KillScope, value: str) -> str:
        """What is meant; in doubt there is such a thing."""
        if scope == "all":
            return EVERYONE
        if scope == "agent" and not self._feed.registered(PrincipalKind.AGENT, value):
            await self._registered(value)
        if scope == "role" and self._feed.has_role(value) is False:
            raise Problem("PC2010", "the policy in force gives nobody this role")
        return value

    async def _registered(self, agent: str) -> None:
        look = asyncio.to_thread(self._directory.get, PrincipalKind.AGENT, agent)
        try:
            found = await asyncio.wait_for(look, ACKNOWLEDGE_SECONDS)
        except Exception:
            log.exception("agent_not_looked_up")
            return
        if found is None:
            raise Problem("PC2010", "there is no agent of this name")

    def _signed(
        self, scope: KillScope, verb: Literal["kill", "undo"], reason: str, by: str
    ) -> SignedOrder | None:
        if scope != "all" or self._key is None:
            return None
        return sign(self._key, verb, reason, by, self._clock)

    def _ordered(self, order: Order, source: str, trace: str) -> Context:
        """Whoever signed an order acts as the one that it names."""
        principal = Principal(
            kind=PrincipalKind.OPERATOR, id=order.by, credential="kill-order", expires_at=math.inf
        )
        return Context(
            principal=principal,
            session=None,
            source=source,
            trace_id=trace,
            received_at=self._clock.now(),
        )

    def _noted(self, done: _Done) -> _Done:
        if self._heard is not None:
            self._heard(done, self._clock.now())
        return done


def _stored(storing: asyncio.Future[None]) -> None:
    """The database did not take what a file holds already."""
    if not storing.cancelled() and storing.exception() is not None:
        log.error("cut_not_stored", fault=type(storing.exception()).__name__)


async def _within(work: Awaitable[_T], code: str, detail: str) -> _T | Fault:
    """What comes of it in time, or what is to be said of that it did not."""
    try:
        return await asyncio.wait_for(work, DURABLE_SECONDS)
    except Problem as problem:
        return Fault(problem.code, f"{problem.detail}; it acts all the same")
    except Exception:
        log.exception("kill_incomplete", code=code)
        return Fault(code, f"{detail}; it acts all the same")


def _asker(approval: Approval) -> Principal:
    """Who asked for an approval, as the feed can name it."""
    return Principal(
        kind=PrincipalKind.AGENT,
        id=approval.agent,
        credential="",
        expires_at=math.inf,
        session=approval.session or None,
        issued_at=math.inf,
        chain=approval.chain,
    )
