"""The class of a call, computed from its arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from portcullis.core.call import RiskClass
from portcullis.core.containment import RISKS, Condition, ToolModel
from portcullis.provenance import numbers
from portcullis.provenance.canonical import canonical
from portcullis.provenance.paths import leaves


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
            wanted = {_alike(one) for one in condition.values}
            return any(_alike(value) in wanted for value in values)


def _over(value: Any, bound: float) -> bool:
    return type(value) not in {int, float} or not value <= bound


def _alike(value: Any) -> object:
    """Texts that a tool could take for the same are the same, also numbers written as texts."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return numbers.exact(value) or canonical(value)
    return numbers.plain(value) or repr(value)
