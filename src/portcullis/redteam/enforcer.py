"""What stands between a replayed agent and its tools, as the replay sees it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol


class Answer(Enum):
    """What an enforcement point says to a call; ASK is for a human to decide."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer and why. ``reasons`` are words of the enforcer's own, none when it allows."""

    answer: Answer
    reasons: tuple[str, ...] = ()


ALLOW = Decision(Answer.ALLOW)


@dataclass(frozen=True, slots=True)
class Task:
    """What is known of a task before its first call.

    ``prompt`` is the user's own words; ``declared`` the tools that the application declared for
    this task when it opened the session (here: those of the task's own ground truth), which only
    enforcers with a grant look at. Tools are unqualified, ``suite`` is the server's name.
    """

    suite: str
    prompt: str
    declared: frozenset[str]


class Enforcer(Protocol):
    """Decides the calls of one session, in their order. ``arguments`` and ``result`` are JSON."""

    def decide(self, tool: str, arguments: dict[str, Any]) -> Decision:
        """Say what happens to a call."""
        ...

    def approved(self, tool: str, arguments: dict[str, Any]) -> None:
        """A human approved a call that was asked about."""
        ...

    def learn(self, tool: str, result: Any) -> None:
        """A call was executed; this is what came back."""
        ...
