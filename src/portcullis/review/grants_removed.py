"""A policy without one grant of one agent: the text as it was written, less that entry."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import yaml

from portcullis.catalogue.schema import fault
from portcullis.config.yaml import compose
from portcullis.core.errors import Problem
from portcullis.policy.grammar import parse
from portcullis.policy.model import Grant, Policy, Role
from portcullis.policy.source import SourceFile
from portcullis.review.grants_findings import key_of
from portcullis.review.grants_widened import widened

_HOST: Final = ".host"
_NO_END: Final = "\\ No newline at end of file"


def without(
    files: tuple[SourceFile, ...], agent: str, rule: str, *, everybody: bool = False
) -> tuple[SourceFile, ...]:
    """The files without the grant of an agent that ``rule`` names, wholly or by its path.

    Raises Problem PC7049 for an agent or a grant that there is not, PC7047 where other agents
    would lose it too, unless ``everybody``, PC7048 where the entry cannot be taken out by itself.
    """
    policy = parse(files, fault)
    grant = _find(policy, agent, rule)
    others = sorted(
        one.name.value
        for one in policy.agents
        if one.name.value != agent and _has(policy, one.role.value, grant.rule)
    )
    if others and not everybody:
        raise Problem("PC7047", f"{grant.path} is also what these have: {', '.join(others)}")
    changed = tuple(_cut(file, grant) if file.name == grant.place.file else file for file in files)
    _require_only(policy, changed, grant)
    return changed


def patch(old: tuple[SourceFile, ...], new: tuple[SourceFile, ...]) -> str:
    """A unified diff from the policy folder as it is to as it is to be."""
    return "".join(_diff(was, now) for was, now in zip(old, new, strict=True) if was != now)


def _diff(old: SourceFile, new: SourceFile) -> str:
    name = old.name.rpartition("/")[2]
    lines = difflib.unified_diff(
        old.text.splitlines(keepends=True),
        new.text.splitlines(keepends=True),
        f"a/{name}",
        f"b/{name}",
    )
    return "".join(line if line.endswith("\n") else f"{line}\n{_NO_END}\n" for line in lines)


def _find(policy: Policy, agent: str, rule: str) -> Grant:
    role = next((one.role.value for one in policy.agents if one.name.value == agent), None)
    if role is None:
        raise Problem("PC7049", f"the policy has no agent {agent}")
    named = [
        grant
        for grant in _role(policy, role).grants()
        if rule in {grant.rule, grant.path, grant.path.removesuffix(_HOST)}
    ]
    if not named:
        raise Problem("PC7049", f"{agent} has no grant {rule}")
    return named[0]


def _role(policy: Policy, name: str) -> Role:
    return next(role for role in policy.roles if role.name.value == name)


def _has(policy: Policy, role: str, rule: str) -> bool:
    return any(grant.rule == rule for grant in _role(policy, role).grants())


@dataclass(frozen=True, slots=True)
class _Spot:
    """An entry of a list: the list, and which of its entries."""

    items: yaml.SequenceNode
    index: int

    @property
    def node(self) -> yaml.Node:
        found: yaml.Node = self.items.value[self.index]
        return found


def _cut(file: SourceFile, grant: Grant) -> SourceFile:
    spot = _spot(file, grant)
    text = _flow(file.text, spot) if spot.items.flow_style else _block(file.text, spot)
    return SourceFile(file.name, text)


def _spot(file: SourceFile, grant: Grant) -> _Spot:
    path, _, number = grant.path.removesuffix(_HOST).rpartition("[")
    role, _, kind = path.removeprefix("roles.").rpartition(".")
    node = compose(file.text, aliases=False)
    for name in ("roles", role, kind):
        node = _member(node, name)
    index = int(number.rstrip("]"))
    if not isinstance(node, yaml.SequenceNode) or index >= len(node.value):
        raise _odd(grant)
    return _Spot(node, index)


def _member(node: yaml.Node | None, name: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for key, value in node.value if key.value == name), None)


def _block(text: str, spot: _Spot) -> str:
    """Take the lines of an entry away; a list that has no other becomes ``[]``."""
    lines = text.splitlines(keepends=True)
    first, end = spot.node.start_mark.line, spot.node.end_mark
    inside = end.line < len(lines) and lines[end.line][: end.column].strip()
    last = end.line if inside else end.line - 1
    while last > first and not _said(lines[last]):
        last -= 1
    rest: list[str] = []
    if len(spot.items.value) == 1:
        rest = [" " * (lines[first].index("-") + 2) + "[]\n"]
    return "".join([*lines[:first], *rest, *lines[last + 1 :]])


def _said(line: str) -> bool:
    """Whether a line has more than a comment."""
    return bool(line.strip()) and not line.strip().startswith("#")


def _flow(text: str, spot: _Spot) -> str:
    """Take an entry of ``[a, b]`` away, with a comma."""
    items, index = spot.items.value, spot.index
    begin, end = _at(text, spot.node.start_mark), _at(text, spot.node.end_mark)
    if index:
        begin = _at(text, items[index - 1].end_mark)
    elif len(items) > 1:
        end = _at(text, items[1].start_mark)
    return text[:begin] + text[end:]


def _at(text: str, mark: yaml.Mark) -> int:
    """Where a mark is, in characters."""
    return sum(map(len, text.splitlines(keepends=True)[: mark.line])) + int(mark.column)


def _require_only(old: Policy, files: tuple[SourceFile, ...], grant: Grant) -> None:
    """Nothing else of the policy is another; else the text is not what it seems to be."""
    try:
        new = parse(files, fault)
    except Problem:
        raise _odd(grant) from None
    before, after = Counter(_keys(old)), Counter(_keys(new))
    held = (role.name.value for role in old.roles if _has(old, role.name.value, grant.rule))
    gone = Counter((role, key_of(grant.rule)) for role in held)
    if after - before or before - after != gone or widened(old, new):
        raise _odd(grant)


def _keys(policy: Policy) -> Iterator[tuple[str, str]]:
    for role in policy.roles:
        yield from ((role.name.value, key_of(one.rule)) for one in role.grants())


def _odd(grant: Grant) -> Problem:
    return Problem("PC7048", f"{grant.place}: {grant.path} cannot be taken out by itself")
