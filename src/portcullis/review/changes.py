"""What one policy changes in another: what agents may, in words, and the lines of the text.

What is taken away is said as what going back would allow again: that is what can be told. As in
``grants_widened``, what cannot be told to be stricter counts as wider, here on either side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Final

import msgspec

from portcullis.catalogue.schema import fault
from portcullis.policy.grammar import parse
from portcullis.policy.model import Policy, Role
from portcullis.policy.source import SourceFile
from portcullis.review.grants_declared import declared
from portcullis.review.grants_widened import widened

MOST_GROUPS: Final = 100
"""Groups of agents that change alike; beyond them agents are only counted."""
MOST_SAID: Final = 50
"""Changes of one group, in either direction, that are said."""
MOST_LINES: Final = 1500
"""Lines of text that are shown, those around a change included."""
_AROUND: Final = 3
_LONGEST: Final = 400
"""Characters of a line."""
_NEW, _GONE = "the agent is new", "the agent is gone"
_MINED: Final = "mined: "
"""How the reason begins that mining gives a grant."""
_HEAD: Final = 4
"""Lines of comment at the top of a mined role's file."""


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """Agents for which the same changes: what they may now, and what they might before.

    ``more`` is how many changes are not said.
    """

    agents: tuple[str, ...]
    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    more: int = 0


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line of either text: ``sign`` is ``+``, ``-`` or empty, a number is 0 where it is not."""

    sign: str
    before: int
    after: int
    text: str


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of one file that differ, in blocks, each with what stands around it."""

    file: str
    blocks: tuple[tuple[Line, ...], ...]


class MinedGrant(msgspec.Struct, frozen=True, kw_only=True):
    """A grant that says that it was mined: from what, and when it holds."""

    kind: str
    value: str
    evidence: str
    terms: str
    place: str


class MinedRole(msgspec.Struct, frozen=True, kw_only=True):
    """A role with mined grants; ``head`` is what its file says of it, as the proposer left it."""

    role: str
    agents: tuple[str, ...]
    head: str
    grants: tuple[MinedGrant, ...]


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. ``others`` are agents beyond the groups, ``cut`` says that text is left out."""

    agents: tuple[Changed, ...] = ()
    others: int = 0
    texts: tuple[Text, ...] = ()
    cut: bool = False
    mined: tuple[MinedRole, ...] = ()

    @property
    def wider(self) -> tuple[str, ...]:
        """The agents that may more by the new policy, as far as they are named."""
        return tuple(sorted(name for one in self.agents if one.gained for name in one.agents))


def changes(old: tuple[SourceFile, ...], new: tuple[SourceFile, ...]) -> Changes:
    """What the new policy changes. Raises Problem PC7002 for one that cannot be read. Blocks."""
    was, now = parse(old, fault), parse(new, fault)
    groups = _grouped(widened(was, now), widened(now, was))
    texts, cut = _texts(_by_name(old), _by_name(new))
    return Changes(
        agents=groups[:MOST_GROUPS],
        others=sum(len(one.agents) for one in groups[MOST_GROUPS:]),
        texts=texts,
        cut=cut,
        mined=tuple(_mined(now, _by_name(old), _by_name(new))),
    )


def _grouped(
    gained: Mapping[str, tuple[str, ...]], lost: Mapping[str, tuple[str, ...]]
) -> tuple[Changed, ...]:
    """Agents that change alike stand together; those that gain come first."""
    alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for agent in sorted({*gained, *lost}):
        gone = tuple(_GONE if one == _NEW else one for one in lost.get(agent, ()))
        alike.setdefault((gained.get(agent, ()), gone), []).append(agent)
    found = [
        Changed(
            agents=tuple(agents),
            gained=more[:MOST_SAID],
            lost=less[:MOST_SAID],
            more=len(more[MOST_SAID:]) + len(less[MOST_SAID:]),
        )
        for (more, less), agents in alike.items()
    ]
    return tuple(sorted(found, key=lambda one: (not one.gained, one.agents)))


def _by_name(files: tuple[SourceFile, ...]) -> dict[str, list[str]]:
    """The lines of each file, by its name without the folder's."""
    return {file.name.rpartition("/")[2]: file.text.splitlines() for file in files}


def _texts(
    old: Mapping[str, list[str]], new: Mapping[str, list[str]]
) -> tuple[tuple[Text, ...], bool]:
    left, found = MOST_LINES, []
    for name in sorted({*old, *new}):
        blocks = []
        for block in _blocks(old.get(name, []), new.get(name, [])):
            shown = block[:left]
            left -= len(shown)
            blocks.append(shown)
            if len(shown) < len(block) or not left:
                found.append(Text(file=name, blocks=tuple(blocks)))
                return tuple(found), True
        if blocks:
            found.append(Text(file=name, blocks=tuple(blocks)))
    return tuple(found), False


def _blocks(old: list[str], new: list[str]) -> Iterator[tuple[Line, ...]]:
    if old == new:
        return
    for group in SequenceMatcher(None, old, new).get_grouped_opcodes(_AROUND):
        lines: list[Line] = []
        for tag, start, end, first, last in group:
            if tag == "equal":
                lines += [
                    _line("", start + at, first + at, old[start + at]) for at in range(end - start)
                ]
                continue
            lines += [_line("-", at, -1, old[at]) for at in range(start, end)]
            lines += [_line("+", -1, at, new[at]) for at in range(first, last)]
        yield tuple(lines)


def _line(sign: str, before: int, after: int, text: str) -> Line:
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
    return Line(sign=sign, before=before + 1, after=after + 1, text=shown)


def _mined(
    policy: Policy, old: Mapping[str, list[str]], new: Mapping[str, list[str]]
) -> Iterator[MinedRole]:
    """The roles with mined grants in the files that are new, or others."""
    for role in policy.roles:
        name = role.name.place.file.rpartition("/")[2]
        if new.get(name) == old.get(name):
            continue
        grants = tuple(_grants(role))
        if grants:
            lines = new.get(name, [])[:_HEAD]
            head = " ".join(one.lstrip("# ") for one in lines if one.startswith("#"))
            agents = (one for one in policy.agents if one.role.value == role.name.value)
            yield MinedRole(
                role=role.name.value,
                agents=tuple(sorted(one.name.value for one in agents)),
                head=head,
                grants=grants,
            )


def _grants(role: Role) -> Iterator[MinedGrant]:
    entries = {one.rule: one for one in role.grants()}
    for grant in declared(role, {}, None):
        entry = entries.get(grant.rule)
        reason = "" if entry is None else entry.terms.reason
        if reason.startswith(_MINED):
            yield MinedGrant(
                kind=grant.kind,
                value=grant.value,
                evidence=reason.removeprefix(_MINED),
                terms=grant.terms,
                place=grant.place,
            )
