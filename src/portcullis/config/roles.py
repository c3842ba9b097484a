"""The sections about operators' roles of one's own, and rights that nobody has together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from portcullis.config.common import Name, Section
from portcullis.core.rights import BUILT_IN, Right, Roles


def _right(name: str) -> str:
    """The name of a right; else ValueError."""
    if name not in tuple(Right):
        close = get_close_matches(name, tuple(Right), n=1, cutoff=0.5)
        perhaps = f"did you mean {close[0]}? " if close else ""
        msg = f"there is no right {name}: {perhaps}docs/operators.md lists them"
        raise ValueError(msg)
    return name


def _own(name: str) -> str:
    """A name that no role has that is built in; else ValueError."""
    if name in BUILT_IN:
        msg = f"the role {name} is built in: give yours another name"
        raise ValueError(msg)
    return name


def _two(pair: tuple[str, str]) -> tuple[str, str]:
    """Two rights that can be kept apart; else ValueError."""
    if pair[0] == pair[1] or Right.LOOK in pair:
        msg = "expected two rights other than look"
        raise ValueError(msg)
    return pair


RightName: TypeAlias = Annotated[str, AfterValidator(_right)]
Pair: TypeAlias = Annotated[tuple[RightName, RightName], AfterValidator(_two)]
RoleName: TypeAlias = Name
"""A role that is built in or configured; ``Config`` sees to it."""


class OperatorRole(Section):
    """What operators with this role may do, and in a sentence whom it is for."""

    rights: Annotated[tuple[RightName, ...], Field(min_length=1)]
    about: str = Field(default="", pattern=r"^[^\x00-\x1f\x7f]{0,200}$")


OperatorRoles: TypeAlias = dict[Annotated[Name, AfterValidator(_own)], OperatorRole]


def roles_of(
    own: Mapping[str, OperatorRole],
    apart: Iterable[tuple[str, str]],
    may_raise: tuple[str, ...] = (),
    raised: tuple[str, ...] = (),
) -> Roles:
    """What the sections ``roles``, ``rights_apart`` and ``break_glass`` say."""
    return Roles(
        own={name: frozenset(map(Right, one.rights)) for name, one in own.items()},
        apart=tuple((Right(first), Right(second)) for first, second in apart),
        may_raise=may_raise,
        raised=raised,
    )


def expect_roles(named: Iterable[str], own: Iterable[str]) -> None:
    """Raise ValueError when a role is named that there is not."""
    for name in named:
        if name not in {*BUILT_IN, *own}:
            msg = f"there is no role {name}: it is neither built in nor under roles"
            raise ValueError(msg)
