"""The life of a principal: one table of states and the verbs that lead from one to another."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from portcullis.core.errors import Problem


class State(StrEnum):
    """What a principal is. Only an active one gets credentials or may use those it has."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Verb(StrEnum):
    """What is done to a principal. ``expire`` is time's, all others are an operator's."""

    SUSPEND = "suspend"
    RESUME = "resume"
    REVIEW = "review"
    EXPIRE = "expire"
    REVOKE = "revoke"


TRANSITIONS: Final[dict[tuple[State, Verb], State]] = {
    (State.ACTIVE, Verb.SUSPEND): State.SUSPENDED,
    (State.ACTIVE, Verb.REVIEW): State.ACTIVE,
    (State.ACTIVE, Verb.EXPIRE): State.EXPIRED,
    (State.ACTIVE, Verb.REVOKE): State.REVOKED,
    (State.SUSPENDED, Verb.RESUME): State.ACTIVE,
    (State.SUSPENDED, Verb.REVIEW): State.SUSPENDED,
    (State.SUSPENDED, Verb.EXPIRE): State.EXPIRED,
    (State.SUSPENDED, Verb.REVOKE): State.REVOKED,
    (State.EXPIRED, Verb.REVIEW): State.ACTIVE,
    (State.EXPIRED, Verb.REVOKE): State.REVOKED,
}
"""What may follow what. Nothing follows ``revoked``: its name is never given out again."""


def after(state: State, verb: Verb) -> State:
    """The state that ``verb`` leads to. Raises Problem PC2073 when it leads nowhere."""
    found = TRANSITIONS.get((state, verb))
    if found is None:
        raise Problem("PC2073", f"{verb} does not apply to a principal that is {state}")
    return found
