"""Four eyes: who asks for something does not approve it."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

from portcullis.core.errors import Problem
from portcullis.core.ports import Directory
from portcullis.core.principal import PrincipalKind

_LOCAL: Final = "local-"
"""Before the name of whoever is an operator by holding the issuer's key on this machine."""
_VOUCHED: Final = "oidc-"
"""Before the name of an operator for whom an issuer of ID tokens vouches: it is a digest."""


def four_eyes(operator: str, user: str, owners: Iterable[str], known: Iterable[str] = ()) -> None:
    """Raise Problem PC3046 when the operator is the session's user, or one of the owners.

    ``known`` are other names of the operator's (``known_as``). Names are compared without case, an
    address also by what stands before its ``@``: it is better to ask somebody else once too often.
    """
    own = frozenset(name for one in (*own_names(operator), *known) for name in _names(one))
    if own & (_names(user) | {vouched_name(user)}):
        raise Problem("PC3046", "the session is the approver's own")
    if any(own & (_names(owner) | {vouched_name(owner)}) for owner in owners):
        raise Problem("PC3046", "the agent is the approver's own")


def own_names(operator: str) -> tuple[str, ...]:
    """The names of users that an operator has as they stand."""
    return tuple(dict.fromkeys((operator, operator.removeprefix(_LOCAL))))


def known_as(directory: Directory, operator: str) -> tuple[str, ...]:
    """All names under which an operator may be a user: his own, and those on record. Blocks."""
    own = own_names(operator)
    records = (directory.get(PrincipalKind.OPERATOR, name) for name in own)
    users = (user for record in records if record is not None for user in record.users)
    return tuple(dict.fromkeys((*own, *users)))


def answering(owner: str, teams: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Who answers for what this owner owns: itself, and its members where it is a team."""
    members = (one for name, team in teams.items() if _names(name) & _names(owner) for one in team)
    return (owner, *members)


def vouched_name(user: str) -> str:
    """The name as an operator of a user for whom an issuer of ID tokens vouches."""
    return _VOUCHED + hashlib.sha256(user.encode()).hexdigest()[:32]


def _names(name: str) -> frozenset[str]:
    folded = unicodedata.normalize("NFKC", name).casefold().strip()
    return frozenset(filter(None, (folded, folded.partition("@")[0])))


def same_person(directory: Directory, one: str, other: str) -> bool:
    """Whether two operators may be the same person, by any of their names. Blocks."""
    return not _persons(directory, one).isdisjoint(_persons(directory, other))


def _persons(directory: Directory, operator: str) -> frozenset[str]:
    known = known_as(directory, operator)
    names = frozenset(name for one in known for name in _names(one))
    return names | {vouched_name(one) for one in known}
