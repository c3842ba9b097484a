"""Four eyes: who asks for something does not approve it."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from typing import Final

from portcullis.core.errors import Problem

_LOCAL: Final = "local-"
"""Before the name of whoever is an operator by holding the issuer's key on this machine."""
_VOUCHED: Final = "oidc-"
"""Before the name of an operator for whom an issuer of ID tokens vouches: it is a digest."""


def four_eyes(operator: str, user: str, owners: Iterable[str]) -> None:
    """Raise Problem PC3046 when the operator is the session's user, or one of the owners.

    Names are compared without case, an address also by what stands before its ``@``: it is better
    to ask somebody else once too often.
    """
    own = _names(operator) | _names(operator.removeprefix(_LOCAL))
    if own & (_names(user) | {vouched_name(user)}):
        raise Problem("PC3046", "the session is the approver's own")
    if any(own & (_names(owner) | {vouched_name(owner)}) for owner in owners):
        raise Problem("PC3046", "the agent is the approver's own")


def vouched_name(user: str) -> str:
    """The name as an operator of a user for whom an issuer of ID tokens vouches."""
    return _VOUCHED + hashlib.sha256(user.encode()).hexdigest()[:32]


def _names(name: str) -> frozenset[str]:
    folded = unicodedata.normalize("NFKC", name).casefold().strip()
    return frozenset(filter(None, (folded, folded.partition("@")[0])))
