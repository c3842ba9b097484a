"""The class of a call, computed from its arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from portcullis.core.call import RiskClass
from portcullis.core.containment import RISKS, Condition, ToolModel
from portcullis.provenance import numbers
from portcullis.provenance.canonical import canonical
from portcullis.provenance.paths import leaves

_TRUE: Final = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "off", "0"})


def highest(first: RiskClass, second: RiskClass) -> RiskClass:
    """The higher of two classes."""
    return first if RISKS[first] >= RISKS[second] else second


def risk(model: ToolModel, arguments: Mapping[str, Any]) -> RiskClass:
    """The tool's own class or the highest of the rules that hold, whichever is higher."""
    found = model.risk
    if not model.rules:
        return found
    given = [leaf for name, value in arguments.items() for leaf in leaves((name,), value)]
    for rule in model.rules:
        if RISKS[rule.risk] > RISKS[found] and all(_holds(one, given) for one in rule.when):
            found = rule.risk
    return found


def _holds(condition: Condition, given: Sequence[tuple[tuple[str, ...], Any]]) -> bool:
    """Of several values, whether it holds for one; what cannot be told holds: a rule only raises.

    ``given`` are all values by path; None and what is empty are not given.
    """
    name = tuple(condition.argument.split("."))
    values = [
        value
        for path, value in given
        if path[: len(name)] == name
        and ((value is not None and value != "") or len(path) > len(name))
    ]
    match condition.kind:
        case "present":
            return bool(values)
        case "absent":
            return not values
        case "over":
            return any(_over(value, condition.values[0]) for value in values)
        case "equals" | "in":
            wanted = set().union(*map(_alike, condition.values))
            if any(isinstance(one, bool) for one in condition.values):
                return any(not wanted.isdisjoint(_alike(one) | _truths(one)) for one in values)
            return any(not wanted.isdisjoint(_alike(value)) for value in values)


def _over(value: Any, bound: float) -> bool:
    return type(value) not in {int, float} or not value <= bound


def _alike(value: Any) -> set[object]:
    """Texts that a tool could take for the same are the same, also numbers written as texts."""
    if isinstance(value, bool):
        return {value, str(value).lower()}
    if isinstance(value, str):
        return {numbers.exact(value) or canonical(value)}
    return {numbers.plain(value) or repr(value)}


def _truths(value: Any) -> set[object]:
    """What a tool could take a value for: true, false, or, where that cannot be told, either."""
    said = value.strip().lower() if isinstance(value, str) else numbers.plain(value)
    if value is True or said in _TRUE:
        return {True}
    return {False} if value is False or said in _FALSE else {True, False}
