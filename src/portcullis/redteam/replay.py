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
from time import perf_counter_ns
from typing import Any

from portcullis.redteam.dojo import Stage
from portcullis.redteam.enforcer import Answer, Enforcer
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
    or one who approves everything.
    """

    NONE = "none"
    IDEAL = "ideal"
    STAMP = "rubber stamp"


@dataclass(slots=True)
class Trace:
    """What happened in one session. ``nanoseconds`` are the times of the decisions."""

    executed: list[Attempt] = field(default_factory=list)
    by_attacker: list[Attempt] = field(default_factory=list)
    refused: list[tuple[Attempt, tuple[str, ...]]] = field(default_factory=list)
    """Calls of the user's task that were not executed, and why."""
    asked: list[tuple[Attempt, tuple[str, ...]]] = field(default_factory=list)
    nanoseconds: list[int] = field(default_factory=list)
    after: bytes = b""


def replay(stage: Stage, order: Order, enforcer: Enforcer, human: Human) -> Trace:
    """Run one session to its end."""
    session = _Session(stage, enforcer, human)
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

    def __init__(self, stage: Stage, enforcer: Enforcer, human: Human) -> None:
        self.trace = Trace()
        self.environment = stage.environment()
        self._stage = stage
        self._enforcer = enforcer
        self._human = human
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
        """Decide, ask, execute, learn. The result, or None where there is none."""
        began = perf_counter_ns()
        decision = self._enforcer.decide(attempt.tool, attempt.arguments)
        self.trace.nanoseconds.append(perf_counter_ns() - began)
        allowed = decision.answer is Answer.ALLOW
        if decision.answer is Answer.ASK:
            self.trace.asked.append((attempt, decision.reasons))
            allowed = self._approves(attempt)
            if allowed:
                self._enforcer.approved(attempt.tool, attempt.arguments)
        if not allowed:
            if not attacker:
                self.trace.refused.append((attempt, decision.reasons))
            return None
        outcome = self._stage.arena.run(self.environment, attempt)
        self.trace.executed.append(attempt)
        if attacker and not outcome.failed:
            self.trace.by_attacker.append(attempt)
        if outcome.failed:
            return None
        self._enforcer.learn(attempt.tool, outcome.result)
        return outcome.result

    def _approves(self, attempt: Attempt) -> bool:
        if self._human is not Human.IDEAL:
            return self._human is Human.STAMP
        known = key(attempt)
        if self._users_own[known] <= 0:
            return False
        self._users_own[known] -= 1
        return True


def key(attempt: Attempt) -> str:
    """What makes two calls the same call."""
    return json.dumps([attempt.tool, attempt.arguments], sort_keys=True)
