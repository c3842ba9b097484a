"""Limit: how often, how much, how long and how many at once, by the policy's ``limits:``.

It stands last. All that a call can take is reserved when it is about to be forwarded, and what it
really took replaces that when it has ended; while a human is asked, nothing is reserved. Counts
are kept by a ``Counter``; what it cannot count is denied.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Final

import structlog

from portcullis.checks.limits_plan import Plans
from portcullis.checks.limits_run import (
    Book,
    Run,
    Sizes,
    actual,
    bounds,
    countable,
    late,
    priced,
    really,
    said,
    told,
    unsent,
)
from portcullis.core.behaviour import RiskLevels
from portcullis.core.call import Action, Call, Context, Result, RiskClass
from portcullis.core.check import Check
from portcullis.core.errors import Problem
from portcullis.core.incident_ports import Probations
from portcullis.core.limit_ports import Counter, Normal, Price, Prices, Spent
from portcullis.core.limit_told import Measure, Quota, moment
from portcullis.core.limits import (
    DATA,
    Amount,
    Limit,
    Over,
    Reservation,
    Slot,
    Window,
    span,
)
from portcullis.core.ports import Clock
from portcullis.core.verdict import PASS, Allow, Deny, Transform, Verdict
from portcullis.oversight import limits as rules
from portcullis.oversight import limits_size as size
from portcullis.oversight.limits import Estimate, Planned

_TICK: Final = 10.0
"""Seconds between two renewals of the places of calls that run."""
_CODES: Final = {Measure.REQUESTS: "PC3070", Measure.CONCURRENCY: "PC3072"}

log = structlog.get_logger(__name__)


class Limiting(Check):
    """The check, the observer that settles, and what says how a call stands with its limits.

    Run ``run`` beside it, and ``close`` it at the end. ``prices`` is None where there are none;
    ``mask`` makes of a user's name what may stand in counts; ``api_of`` is the shape of an
    upstream's API; ``refused`` is told of each refusal, ``levels`` says how risky agents are and
    ``probations`` who is on one.
    """

    name: ClassVar[str] = "limit"

    def __init__(
        self,
        book: Book,
        counter: Counter,
        clock: Clock,
        *,
        prices: Prices | None = None,
        levels: RiskLevels | None = None,
        probations: Probations | None = None,
        spent: Spent | None = None,
        sizes: Sizes | None = None,
        mask: Callable[[str], str] = str,
        api_of: Callable[[str], str] = str,
        refused: Callable[[str, Measure], None] | None = None,
    ) -> None:
        self._counter = counter
        self._clock = clock
        self._prices = prices
        self._levels = levels or Normal()
        self._spent = spent
        self._sizes = sizes or Sizes()
        self._api_of = api_of
        self._refused = refused
        self._running: dict[str, Run] = {}
        self._ending: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._plans = Plans(book, self._levels, mask, probations)

    # The line.

    def judge(self, call: Call, context: Context, facts: object) -> Verdict:
        """Name the maximum that is reserved for an answer, where the request names none.

        That is where a limit is of it: the provider keeps to it, and only streams can be cut.
        """
        del facts
        if not self._sizes.cap_output or call.action is not Action.MODEL:
            return PASS
        if not size.uncapped(call):
            return PASS
        found = self._plans.met(call, context)
        if not found.grows:
            return PASS
        price = self._price(call, costs=found.costs is not None)
        most = price.most if price else 0
        return Transform(payload=size.capped(call, most or self._sizes.output_tokens))

    async def holding(self, call: Call, context: Context, risk: RiskClass) -> None:
        """Nobody is asked about a call that could not go. Raises what ``going`` does."""
        del risk
        run = self._planned(call, context)
        if run is not None and run.plan:
            over = await self._counter.peek(run.wants)
            if over is not None:
                raise self._problem(run, over)

    async def going(self, call: Call, context: Context, risk: RiskClass) -> None:
        """Reserve all that the call can take; calls of the gate's own cost nothing.

        Raises Problem PC3070 (rate), PC3071 (budget), PC3072 (at once), PC3073 (cannot be
        counted), PC3074 (no price), PC3075 (the session's time), PC3078 (it alone is too much).
        """
        del risk
        run = self._planned(call, context)
        if run is None:
            return
        if run.plan:
            wants = run.wants
            try:
                made = await self._counter.reserve(call.id, wants, hold=self._sizes.hold_seconds)
            except asyncio.CancelledError:  # it may be granted all the same
                left = Reservation(id=call.id, wants=tuple(wants), states=())
                self._later(self._counter.release(left))
                raise
            if isinstance(made, Over):
                raise self._problem(run, made)
            run.reservation = made
        self._running[call.id] = run

    async def prepare_result(self, call: Call, context: Context, result: Result) -> object:
        """Count what came back before it goes on. Raises Problem PC3077 when it is too much."""
        del context
        run = self._running.get(call.id)
        if run is None or not any(one.measure in DATA for one in run.plan):
            return None
        plan = [one for one in run.plan if one.measure in DATA]
        much = {Measure.BYTES: max(0, result.size - result.counted)}
        if any(one.measure is Measure.ROWS for one in plan):
            much[Measure.ROWS] = size.rows(result.payload)
        wants = rules.sized(plan, much)
        made = await self._counter.reserve(f"{call.id}+", wants, hold=1.0)
        if isinstance(made, Over):
            one = plan[made.which]
            reason = f"limit {one.limit.name}: {said(one)}"
            raise self._told(Problem("PC3077", reason), one, made.resets_at)
        return None

    def judge_result(self, call: Call, context: Context, result: Result, facts: object) -> Verdict:
        """All is said by ``prepare_result``."""
        del call, context, result, facts
        return PASS

    def judge_chunk(self, call: Call, context: Context) -> Verdict:
        """Deny PC3075 when the session's time is over."""
        del context
        run = self._running.get(call.id)
        if run is None or run.over_at is None or self._clock.now() < run.over_at[0]:
            return PASS
        return late(run.over_at[1])

    def judge_passing(self, call: Call, context: Context, characters: Callable[[], int]) -> Verdict:
        """Deny PC3076 when a model's stream has become longer than what was reserved for it."""
        del context
        run = self._running.get(call.id)
        if run is None or run.most is None:
            return PASS
        run.passed += characters()
        if run.passed <= run.most:
            return PASS
        limit = next(one.limit.name for one in run.plan if bounds(one))
        return Deny(
            code="PC3076",
            reason=f"limit {limit}: {run.estimate.written} tokens were reserved for the answer",
        )

    # The observer.

    def decided(self, call: Call, context: Context, verdict: Allow | Deny) -> None:
        """Give back what was reserved for a call that will not be forwarded after all."""
        del context
        if isinstance(verdict, Allow):
            return
        run = self._running.pop(call.id, None)
        if run is not None:
            self._settle(call.id, run, None)
        run = self._ending.get(call.id)
        if run is not None:
            run.never = True

    def finished(
        self, call: Call, context: Context, result: Result | None, problem: Deny | None
    ) -> None:
        """Settle a call by what it really took."""
        del context
        run = self._running.pop(call.id, None)
        if run is None:
            return
        if result is None and problem is not None and unsent(call, problem):
            run.never = True
        self._settle(call.id, run, really(call, run, result, problem))

    # Who asks how it stands.

    def quotas(self, call: str) -> tuple[Quota, ...]:
        """See Standing."""
        run = self._running.get(call)
        if run is None or not run.reservation.id:
            return ()
        return rules.quotas(run.plan, run.reservation.states, self._clock.now())

    @property
    def running(self) -> int:
        """How many calls run that are to be settled."""
        return len(self._running)

    async def run(self) -> None:
        """Keep the places of calls that run, until cancelled."""
        while True:
            await asyncio.sleep(_TICK)
            try:
                await self.renew()
            except Exception as error:  # noqa: BLE001 - nothing ends it but the gate's end
                fault = error.code if isinstance(error, Problem) else type(error).__name__
                log.warning("places_not_renewed", fault=fault)

    async def renew(self) -> None:
        """Keep the places of calls that run; those are let go that nobody finished."""
        late = self._clock.now() - self._sizes.hold_seconds
        for name in [name for name, run in self._running.items() if run.at <= late]:
            del self._running[name]
        kept = [
            run.reservation
            for run in self._running.values()
            if any(isinstance(want, Slot) for want in run.reservation.wants)
        ]
        if kept:
            await self._counter.renew(kept)

    async def close(self) -> None:
        """Settle what is being settled, and let the counter go."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._counter.close()

    # Within.

    def _planned(self, call: Call, context: Context) -> Run | None:
        """What a call wants; None for one that no limit is of. Raises Problem."""
        if call.looked_up_for or call.action not in rules.COUNTED:
            return None
        found = self._plans.met(call, context)
        if not found.met and (
            call.action is not Action.MODEL or self._price(call, costs=False) is None
        ):
            return None  # nor is its cost known, of which somebody would be told
        now = self._clock.now()
        run = Run(context.principal.id, now, ())
        for limit, _ in found.met:
            if limit.session_seconds is not None:
                self._in_time(run, limit, limit.session_seconds, context, now)
        if call.action is Action.MODEL:
            self._estimated(run, call, found.costs)
        plan = countable(call, self._plans.plan(call, found, now))
        run.plan, run.wants = plan, rules.sized(plan, run.estimate.amounts())
        for one, want in zip(plan, run.wants, strict=True):
            if isinstance(want, Amount) and want.amount > want.ceiling:
                reason = f"limit {one.limit.name}: the call can take more than {said(one)}"
                raise self._told(Problem("PC3078", reason), one, 0.0)
        if found.grows and call.action is Action.MODEL:
            run.most = size.characters(run.estimate.written, named=run.named)
        return run

    def _in_time(self, run: Run, limit: Limit, seconds: int, context: Context, now: float) -> None:
        session = context.session
        if session is None:
            return
        factor = self._plans.factor(limit, context.principal.id)
        over_at = session.opened_at + seconds * factor
        if now >= over_at:
            denied = late(limit)
            problem = Problem(denied.code, denied.reason)
            problem.over = denied.over
            self._count(limit.name, Measure.SESSION)
            raise problem
        if run.over_at is None or over_at < run.over_at[0]:
            run.over_at = (over_at, limit)

    def _estimated(self, run: Run, call: Call, costs: Limit | None) -> None:
        run.price = self._price(call, costs=costs is not None)
        if costs is not None and run.price is None:
            self._count(costs.name, Measure.COST)
            raise Problem("PC3074", f"limit {costs.name}: there is no price for this model")
        read = size.read(call, self._sizes.bytes_per_token)
        most = run.price.most if run.price else 0
        written, run.named = size.written(call, self._sizes.output_tokens, most)
        micros = run.price.dearest(read, written) if run.price else None
        run.estimate = Estimate(read=read, written=written, micros=micros)

    def _price(self, call: Call, *, costs: bool) -> Price | None:
        """What a model's tokens cost, where a limit of cost asks or it takes no time."""
        prices = self._prices
        if prices is None or not (costs or (self._spent is not None and prices.ready)):
            return None
        return priced(call, prices.price(self._api_of(call.server), call.name))

    def _problem(self, run: Run, over: Over) -> Problem:
        one = run.plan[over.which]
        code = _CODES.get(one.measure, "PC3071")
        when = "" if isinstance(one.want, Slot) else f", again at {moment(over.resets_at)}"
        problem = Problem(code, f"limit {one.limit.name}: {said(one)}{when}")
        return self._told(problem, one, over.resets_at, quoted=True)

    def _told(
        self, problem: Problem, one: Planned, resets_at: float, *, quoted: bool = False
    ) -> Problem:
        """The problem with what those are told who meet it, and counted."""
        told(problem, one, resets_at, self._clock.now(), quoted=quoted)
        self._count(one.limit.name, one.measure)
        return problem

    def _count(self, limit: str, measure: Measure) -> None:
        if self._refused is not None:
            self._refused(limit, measure)

    def _settle(self, call: str, run: Run, real: Estimate | None) -> None:
        """Have it settled beside the line; without ``real``, it never went."""
        if real is not None and self._spent is not None and run.price and not run.never:
            self._spent.on_spent(run.agent, real.micros or 0, self._clock.now())
        if run.reservation.id:
            self._ending[call] = run
            self._later(self._settled(call, run, real))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:  # what was reserved stays spent
            fault = error.code if isinstance(error, Problem) else type(error).__name__
            log.warning("not_settled", fault=fault)

    async def _settled(self, call: str, run: Run, real: Estimate | None) -> None:
        self._ending.pop(call, None)
        if real is None or run.never:
            await self._counter.release(run.reservation)
            return
        await self._counter.settle(run.reservation, actual(run.plan, real))
        if self._spent is not None:
            await self._burnt(run)

    async def _burnt(self, run: Run) -> None:
        """Tell of limits whose month's budget is spent too fast, and of an agent that does so.

        Of a count that agents share, that is each who spends more than its even pace alone: whoever
        spends little is not stopped for what its neighbours spend.
        """
        now = self._clock.now()
        for one in run.plan:
            if not one.burns or self._spent is None:
                continue
            own = one.want.key.split("|")[2]
            owner = rules.whole(one.limit, own)
            if not rules.burns(one.limit, *await self._hours(one.limit, owner, now), now):
                continue
            if own != owner:
                last = rules.last_hour(*await self._hours(one.limit, own, now), now)
                if last <= rules.even(one.limit, now):
                    continue
            self._spent.on_burn(one.limit.name, one.burns)

    async def _hours(self, limit: Limit, owner: str, now: float) -> tuple[int, int]:
        """What was spent in the hour before this one, and in this."""
        start, _ = span(Window.HOUR, now)
        keys = [rules.burn_key(limit, owner, at) for at in (start - 3600, start)]
        before, within = await self._counter.read(keys)
        return before, within
