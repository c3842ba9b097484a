"""What stands between a replayed agent and its tools, as the replay sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from time import thread_time_ns
from typing import Any, Protocol, TypeAlias

from portcullis.redteam.programs import Attempt


class Answer(Enum):
    """What an enforcement point says to a call; ASK is for a human to decide."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer and why. ``reasons`` are words of the enforcer's own.

    When it allows, there are some only if what came back was withheld from the agent.
    """

    answer: Answer
    reasons: tuple[str, ...] = ()


ALLOW = Decision(Answer.ALLOW)


@dataclass(frozen=True, slots=True)
class Task:
    """What is known of a task before its first call.

    ``prompt`` is the user's own words; ``declared`` the tools that the application declared for
    this task when it opened the session (here: those of the task's own ground truth), which only
    enforcers with a grant look at. Tools are unqualified, ``suite`` is the server's name.
    ``subject`` is whom or what the application says that the session is about.
    """

    suite: str
    prompt: str
    declared: frozenset[str]
    subject: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tool answered: JSON, or None and an error in the tool's own words."""

    result: Any
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What became of a call. ``outcome`` is None when it was not executed.

    ``nanoseconds`` is how long the enforcement point took until its first answer: of the
    processor's time in this process, else of everybody's.
    """

    decision: Decision
    outcome: Outcome | None
    nanoseconds: int


Run: TypeAlias = Callable[[Attempt], Outcome]
"""Executes a call in the session's world."""
Decides: TypeAlias = Callable[[], bool | None]
"""What a human says to a call that was asked about; None when nobody says anything."""


class Enforcer(Protocol):
    """Stands before the tools of one session, whose calls come in their order."""

    def call(self, attempt: Attempt, run: Run, decides: Decides) -> Step:
        """Decide on a call, ask where that is the answer, and have it executed if it may be."""
        ...


class Deciding(ABC):
    """An enforcement point in this process. ``arguments`` and ``result`` are JSON."""

    def call(self, attempt: Attempt, run: Run, decides: Decides) -> Step:
        """See Enforcer."""
        began = thread_time_ns()
        decision = self.decide(attempt.tool, attempt.arguments)
        took = thread_time_ns() - began
        if decision.answer is not Answer.ALLOW and self._looked(attempt, run):
            decision = self.decide(attempt.tool, attempt.arguments)
        if decision.answer is Answer.DENY:
            return Step(decision, None, took)
        if decision.answer is Answer.ASK:
            said = decides()
            if said is False:
                self.denied(attempt.tool, attempt.arguments)
            if not said:
                return Step(decision, None, took)
            self.approved(attempt.tool, attempt.arguments)
        outcome = run(attempt)
        if outcome.failed:
            self.failed(attempt.tool)
        else:
            self.learn(attempt.tool, outcome.result)
        return Step(decision, outcome, took)

    def _looked(self, attempt: Attempt, run: Run) -> bool:
        """Whether the enforcement point made calls of its own, to learn of sources."""
        looks = self.lookups(attempt.tool, attempt.arguments)
        for look in looks:
            outcome = run(look)
            if not outcome.failed:
                self.found(look.tool, outcome.result)
        return bool(looks)

    def lookups(self, tool: str, arguments: dict[str, Any]) -> Sequence[Attempt]:
        """What it would look up before it asks about a call."""
        del tool, arguments
        return ()

    def found(self, tool: str, result: Any) -> None:
        """This came back of what it looked up, which the agent does not see."""
        self.learn(tool, result)

    @abstractmethod
    def decide(self, tool: str, arguments: dict[str, Any]) -> Decision:
        """Say what happens to a call."""

    @abstractmethod
    def approved(self, tool: str, arguments: dict[str, Any]) -> None:
        """A human approved a call that was asked about."""

    @abstractmethod
    def denied(self, tool: str, arguments: dict[str, Any]) -> None:
        """A human denied a call that was asked about."""

    @abstractmethod
    def learn(self, tool: str, result: Any) -> None:
        """A call was executed; this is what came back."""

    @abstractmethod
    def failed(self, tool: str) -> None:
        """A call was executed, and the tool answered with an error."""
