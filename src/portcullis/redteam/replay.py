"""One session replayed: the user's calls and the attacker's, each decided before it is executed.

The agent is bad from the start. It makes the calls of the user's task and those of the attack,
before, in the middle of or after them; what is refused or fails, it goes on without.
"""

from __future__ import annotations

import json
import pickle
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

from portcullis.redteam.dojo import Stage
from portcullis.redteam.enforcer import Answer, Decision, Enforcer, Outcome, Step
from portcullis.redteam.programs import Attempt, Program


class Order(StrEnum):
    """When the attack comes; ALONE is the user's task without one."""

    ALONE = "alone"
    BEFORE = "before"
    MIDDLE = "middle"
    AFTER = "after"


ATTACKED = (Order.BEFORE, Order.MIDDLE, Order.AFTER)


class Human(StrEnum):
    """Who is asked.

    Nobody (an ask is a denial), one who approves exactly the calls of the user's task, each once,
    one who does so until he has denied something a few times and then approves everything, or one
    who approves everything.
    """

    NONE = "none"
    IDEAL = "ideal"
    TIRED = "tired"
    STAMP = "rubber stamp"


@dataclass(slots=True)
class Trace:
    """What happened in one session. ``nanoseconds`` are the times of the decisions."""

    executed: list[Attempt] = field(default_factory=list)
    by_attacker: list[Attempt] = field(default_factory=list)
    refused: list[tuple[Attempt, tuple[str, ...]]] = field(default_factory=list)
    """Calls of the user's task that were not executed, and why."""
    asked: list[tuple[Attempt, tuple[str, ...]]] = field(default_factory=list)
    decided: list[tuple[Attempt, Decision]] = field(default_factory=list)
    nanoseconds: list[int] = field(default_factory=list)
    after: bytes = b""

    def note(self, attempt: Attempt, step: Step) -> None:
        """A call was decided on; the same may be tried again."""
        self.nanoseconds.append(step.nanoseconds)
        self.decided.append((attempt, step.decision))
        if step.decision.answer is Answer.ASK:
            self.asked.append((attempt, step.decision.reasons))

    def end(self, attempt: Attempt, step: Step, *, attacker: bool) -> None:
        """A call was tried for the last time."""
        if step.outcome is None:
            if not attacker:
                self.refused.append((attempt, step.decision.reasons))
            return
        self.executed.append(attempt)
        if attacker and not step.outcome.failed:
            self.by_attacker.append(attempt)


def replay(
    stage: Stage,
    order: Order,
    enforcer: Enforcer,
    human: Human,
    *,
    patience: int = 0,
    insists: int = 0,
) -> Trace:
    """Run one session to its end.

    ``patience`` is how often one who gets tired denies. ``insists`` is how often the attacker sends
    again what was denied: with one more space at the end of its last text, which does the same.
    """
    session = _Session(stage, enforcer, human, patience=patience, insists=insists)
    wanted = stage.wanted()
    split = {Order.BEFORE: 0, Order.MIDDLE: len(wanted) // 2}.get(order, len(wanted))
    for attempt in wanted[:split]:
        session.attempt(attempt, attacker=False)
    if order != Order.ALONE:
        session.drive(stage.attack(session.environment))
    for attempt in wanted[split:]:
        session.attempt(attempt, attacker=False)
    session.trace.after = pickle.dumps(session.environment)
    return session.trace


class _Session:
    """The state of one run."""

    def __init__(
        self, stage: Stage, enforcer: Enforcer, human: Human, *, patience: int, insists: int
    ) -> None:
        self.trace = Trace()
        self.environment = stage.environment()
        self._stage = stage
        self._enforcer = enforcer
        self._human = human
        self._patience = patience
        self._insists = insists
        self._users_own = Counter(key(attempt) for attempt in stage.wanted())

    def drive(self, program: Program) -> None:
        """Run the attacker's program: it is sent what each of its calls gave."""
        result: Any = None
        while True:
            try:
                attempt = program.send(result)
            except StopIteration:
                return
            result = self.attempt(attempt, attacker=True)

    def attempt(self, attempt: Attempt, *, attacker: bool) -> Any:
        """Have a call made. The result, or None where there is none."""
        for tried in range(1 + (self._insists if attacker else 0)):
            sent = _again(attempt, tried)
            step = self._enforcer.call(
                sent,
                partial(self._run, sent, attempt),
                lambda: self._approves(attempt),
            )
            self.trace.note(attempt, step)
            if step.outcome is not None or step.decision.answer is not Answer.ASK:
                break
        self.trace.end(attempt, step, attacker=attacker)
        return step.outcome.result if step.outcome else None

    def _run(self, sent: Attempt, meant: Attempt, called: Attempt) -> Outcome:
        """Execute a call: what was ``sent`` as it was ``meant``, others as they are."""
        return self._stage.arena.run(self.environment, meant if called == sent else called)

    def _approves(self, attempt: Attempt) -> bool | None:
        if self._human is Human.NONE:
            return None
        if self._human is Human.STAMP:
            return True
        known = key(attempt)
        if self._users_own[known] > 0:
            self._users_own[known] -= 1
            return True
        if self._human is Human.IDEAL:
            return False
        self._patience -= 1
        return self._patience < 0


def _again(attempt: Attempt, tried: int) -> Attempt:
    """The call as it is sent the next time."""
    texts = [name for name, value in attempt.arguments.items() if isinstance(value, str)]
    if not tried or not texts:
        return attempt
    changed = {texts[-1]: attempt.arguments[texts[-1]] + " " * tried}
    return Attempt(attempt.tool, attempt.arguments | changed)


def key(attempt: Attempt) -> str:
    """What makes two calls the same call."""
    return json.dumps([attempt.tool, attempt.arguments], sort_keys=True)
