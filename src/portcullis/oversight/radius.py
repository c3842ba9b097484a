"""The blast radius of a call that waits: what it would reach, as far as anybody knows.

Facts come from the call, the catalogue and what was known when it was asked; nothing is guessed.
Where the catalogue says nothing, a line says ``unknown`` and is graded high.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, Final, TypeAlias

from portcullis.core.approval import Approval, Shown
from portcullis.core.call import Action, RiskClass
from portcullis.core.containment import ANY, LEVELS, ArgumentRole, Confidentiality, ToolModel
from portcullis.core.desk import Grade, Reach
from portcullis.provenance import numbers
from portcullis.provenance.arguments import leaves, parts, resolved, says, shown_as

UNKNOWN: Final = "unknown"
_GRADES: Final[dict[Grade, int]] = {"high": 0, "medium": 1, "low": 2}
_EFFECTS: Final[dict[RiskClass, tuple[str, Grade]]] = {
    RiskClass.READ: ("reads, and changes nothing", "low"),
    RiskClass.MODIFY: ("changes something", "medium"),
    RiskClass.EXTERNAL: ("goes out of the house", "high"),
    RiskClass.DELETE: ("deletes, or may", "high"),
}
_UNDONE: Final[dict[RiskClass, tuple[str, Grade]]] = {
    RiskClass.READ: ("nothing to undo", "low"),
    RiskClass.MODIFY: (f"{UNKNOWN}: the catalogue does not say", "high"),
    RiskClass.EXTERNAL: ("no: what has gone out is out", "high"),
    RiskClass.DELETE: ("no: what is deleted is gone", "high"),
}
_NO_SOURCE: Final = "no source"
"""How the label ends of a value that neither the user nor anything trusted has named."""
_MOST: Final = 1024
"""Values of a call that are looked at."""
_SHOWN: Final = 5
_LONGEST: Final = 80
_FEW: Final = 10
_CARRYING: Final = (RiskClass.EXTERNAL, RiskClass.DELETE)
_NAMED: Final = {
    ArgumentRole.DESTINATION: "destinations",
    ArgumentRole.OBJECT: "things touched",
    ArgumentRole.AMOUNT: "amounts",
}
"""What a line of a role is called; a call that does not only read should say each."""
_APART: Final = re.compile(r"[\s,;]+")
_MANY: Final = re.compile(
    r"[^\w\s.@#:+'&()\u2010-\u2015-]|\.\.|\d\S*[\s+&](?:.*\s)?\S*\d"
    r"|\A(.*?)\d+[-\u2010-\u2015:]\1\d+\Z|\A(?:all|any|every\w*)\Z",
    re.IGNORECASE | re.DOTALL,
)
"""A text that may name more than one thing: a wildcard, a path, a condition, a list, a range.

What stands in no usual name of a thing may be any of these.
"""

_Values: TypeAlias = list[tuple[Any, bool]]
"""Values, each with whether it has a source."""


def radius(approval: Approval, shown: Shown, model: ToolModel | None) -> tuple[Reach, ...]:
    """How far a call would reach, the gravest first.

    ``model`` is what the catalogue says of the tool, None when it does not list it.
    """
    lines = [*_effect(approval)]
    if approval.action == Action.TOOL:
        lines += _arguments(approval, shown, model)
    elif approval.action == Action.MODEL or approval.risk in _CARRYING:
        lines.append(_leaving(shown.labels, 0))
    lines += (_caller(shown), _grant(shown))
    return tuple(sorted(lines, key=lambda line: _GRADES[line.grade]))


def _effect(approval: Approval) -> Iterator[Reach]:
    for what, table in (("effect", _EFFECTS), ("undo", _UNDONE)):
        value, grade = table[approval.risk]
        yield Reach(what=what, value=value, grade=grade)


def _arguments(approval: Approval, shown: Shown, model: ToolModel | None) -> Iterator[Reach]:
    if model is None:
        yield Reach(what="tool", value=f"{UNKNOWN}: the catalogue does not list it", grade="high")
        yield _leaving(shown.labels, 0)
        return
    found, unlisted, vague, carries, whole = _roles(shown, model)
    if unlisted or not whole:
        names = _some(unlisted) if whole else "too many values to look at"
        yield Reach(what="arguments", value=f"{UNKNOWN}: {names}", grade="high")
    yield from _unsaid(approval.risk, model, found)
    destinations = _distinct(found.get(ArgumentRole.DESTINATION, []))
    judged = any(name.startswith("arguments.") for name in shown.labels)
    yield from _destinations(destinations, approval.risk, judged=judged)
    yield from _amounts(found.get(ArgumentRole.AMOUNT, []))
    yield from _objects(_distinct(found.get(ArgumentRole.OBJECT, [])), vague=vague)
    secret = _distinct(found.get(ArgumentRole.CREDENTIAL, []))
    if secret:
        yield Reach(what="credentials", value=f"{len(secret)} set or given away", grade="high")
    if carries or approval.risk in _CARRYING:
        yield _leaving(shown.labels, len(destinations))


def _roles(
    shown: Shown, model: ToolModel
) -> tuple[dict[ArgumentRole, _Values], list[str], bool, bool, bool]:
    """Values by role; names that no line knows.

    Whether the things touched are said by more than their names, whether data can leave in an
    argument, and whether all values were looked at.
    """
    vague = False
    found: dict[ArgumentRole, _Values] = {}
    unlisted: dict[str, None] = {}
    carries = False
    told = list(islice(leaves(shown.arguments), _MOST + 1))
    for path, value in told[:_MOST]:
        argument, names = resolved(model, path)
        place = ".".join(path)
        if argument is None:
            unlisted[shown_as(place)] = None
            continue
        carries = carries or argument.carries
        vague = vague or (argument.role is ArgumentRole.OBJECT and bool(names))
        sourced = not shown.labels.get(f"arguments.{place}", _NO_SOURCE).endswith(_NO_SOURCE)
        for one in (value, *names):
            for part in _apart(argument.role, one) if says(one) else ():
                found.setdefault(argument.role, []).append((part, sourced))
    return found, list(unlisted), vague, carries, len(told) <= _MOST


def _apart(role: ArgumentRole, value: Any) -> Iterator[Any]:
    """A value in its parts: each address of a text in which there are several, however divided."""
    for part in parts(role, value):
        found = [part]
        if role is ArgumentRole.DESTINATION and isinstance(part, str):
            found = [one for one in _APART.split(part) if "@" in one or "://" in one]
        yield from found if len(found) > 1 else [part]


def _unsaid(
    risk: RiskClass, model: ToolModel, found: Mapping[ArgumentRole, _Values]
) -> Iterator[Reach]:
    """What the catalogue says that such a call may name, and this one does not: all, or a default.

    Whatever goes out of the house goes somewhere.
    """
    if risk is RiskClass.READ:
        return
    roles = {one.role for name, one in model.arguments.items() if name != ANY}
    if risk is RiskClass.EXTERNAL:
        roles.add(ArgumentRole.DESTINATION)
    for role, what in _NAMED.items():
        if role in roles and role not in found:
            yield Reach(what=what, value=f"{UNKNOWN}: the call names none", grade="high")


def _destinations(found: Mapping[str, bool], risk: RiskClass, *, judged: bool) -> Iterator[Reach]:
    if not found:
        return
    new = [value for value, sourced in found.items() if not sourced]
    if not judged:
        said = f"{UNKNOWN}: where they come from was not judged"
        yield Reach(what="new destinations", value=said, grade="high")
    elif new:
        said = f"{_some(new)}: not the user's words, and not approved before in this session"
        yield Reach(what="new destinations", value=f"{len(new)}: {said}", grade="high")
    grade: Grade = "high" if new else "medium" if risk is not RiskClass.READ else "low"
    yield Reach(what="destinations", value=f"{len(found)}: {_some(list(found))}", grade=grade)


def _amounts(found: _Values) -> Iterator[Reach]:
    """Each amount counts, also when another is the same: the sum is what is paid."""
    if not found:
        return
    said = _some([str(value) for value, _ in found])
    read = [
        numbers.exact(value) if isinstance(value, str) else numbers.plain(value)
        for value, _ in found
    ]
    exact = [Decimal(one) for one in read if one is not None]
    if len(exact) < len(read):
        yield Reach(what="amounts", value=f"{UNKNOWN}: {said}", grade="high")
        return
    total = f", {numbers.shortest(sum(exact, Decimal()))} together" if len(exact) > 1 else ""
    grade: Grade = "medium" if all(sourced for _, sourced in found) else "high"
    yield Reach(what="amounts", value=f"{said}{total}", grade=grade)


def _objects(found: Mapping[str, bool], *, vague: bool) -> Iterator[Reach]:
    if not found:
        return
    if vague or any(len(one) > _LONGEST or _MANY.search(one.strip()) for one in found):
        said = f"{UNKNOWN} how many: {_some(list(found))}"
        yield Reach(what="things touched", value=said, grade="high")
        return
    grade: Grade = "low" if len(found) == 1 else "medium" if len(found) <= _FEW else "high"
    yield Reach(what="things touched", value=f"{len(found)}: {_some(list(found))}", grade=grade)


def _distinct(found: _Values) -> dict[str, bool]:
    """Each value once; it has a source when it has one wherever it stands."""
    distinct: dict[str, bool] = {}
    for value, sourced in found:
        distinct[str(value)] = distinct.get(str(value), True) and sourced
    return distinct


def _leaving(labels: Mapping[str, str], destinations: int) -> Reach:
    """How confidential what may leave is: a session's label is that of all it has read."""
    try:
        level = Confidentiality(labels.get("session", ""))
    except ValueError:
        value = f"{UNKNOWN}: how confidential the session is was not judged"
        return Reach(what="data leaving", value=value, grade="high")
    where = f" for {destinations} destinations" if destinations > 1 else ""
    rank = LEVELS[level]
    grade: Grade = "low" if not rank else "medium" if rank == 1 else "high"
    return Reach(what="data leaving", value=f"up to {level}{where}", grade=grade)


def _caller(shown: Shown) -> Reach:
    _, *others = shown.agents
    if not others:
        return Reach(what="delegated", value="no: the agent acts for nobody else", grade="low")
    return Reach(what="delegated", value=f"on behalf of {_some(others)}", grade="medium")


def _grant(shown: Shown) -> Reach:
    """What else the agent may do in this session: policy allows no more than its grant."""
    if shown.grant is None:
        value = f"{UNKNOWN}: the task declared no tools, all that policy allows"
        return Reach(what="session's grant", value=value, grade="high")
    count = len(shown.grant)
    grade: Grade = "low" if count <= _SHOWN else "medium"
    return Reach(what="session's grant", value=f"{count} tools: {_some(shown.grant)}", grade=grade)


def _some(values: Sequence[str]) -> str:
    """The first few, each bounded, and how many more there are."""
    shown: list[str] = [_short(one) for one in values[:_SHOWN]]
    more = len(values) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _short(text: Any) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\u2026"
