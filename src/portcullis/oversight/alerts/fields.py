"""The fields of events as rules name them, and the tests of their values (Sigma's modifiers)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from portcullis.core.event import Event, EventType, ResultSummary
from portcullis.oversight.alerts.rule import Test

Value: TypeAlias = str | int | float | bool
Values: TypeAlias = tuple[Value, ...]

_COMMON: Final = tuple(
    name
    for name in Event.__struct_fields__
    if name not in {"v", "parameters", "commitments", "result", "findings", "time", "features"}
)
_RESULT: Final = tuple(f"result.{name}" for name in ResultSummary.__struct_fields__)
FIELDS: Final = (*_COMMON, *_RESULT, "features", "finding", "host", "hour", "weekday")
"""Every field but ``parameters.NAME``. ``finding``: the types found, each once. ``host``: the
source without its port. ``hour`` (0 to 23) and ``weekday`` (1, Monday, to 7) are in UTC."""
PARAMETER: Final = "parameters."
_LISTS: Final = frozenset({"features", "finding"})


def known(name: str) -> bool:
    """Whether there can be such a field."""
    return name in FIELDS or (name.startswith(PARAMETER) and len(name) > len(PARAMETER))


def reader(name: str) -> Callable[[Event], Values]:
    """What reads a field: its values, none where it is absent."""
    if name.startswith(PARAMETER):
        key = name.removeprefix(PARAMETER)
        return lambda event: _scalars(event.parameters.get(key))
    if name.startswith("result."):
        part = name.removeprefix("result.")
        return lambda event: _scalars(event.result and getattr(event.result, part))
    return _DERIVED.get(name) or (lambda event: _scalars(getattr(event, name)))


def shown(name: str) -> Callable[[Event], str]:
    """What reads a field as one text, for grouping: empty where it is absent."""
    read = reader(name)
    if name in _LISTS:
        return lambda event: " ".join(sorted(map(str, read(event))))
    return lambda event: "".join(map(str, read(event)))


_PLAIN: Final = frozenset(
    {
        *("type", "gateway", "principal_kind", "principal", "credential", "session", "application"),
        *("route", "action", "risk", "verdict", "check", "code", "policy", "approval", "review"),
        *("features", "finding", "host", "hour", "weekday"),
        *_RESULT,
    }
)
"""Fields whose values no caller chooses as he likes."""
_OWN: Final = frozenset({EventType.ADMIN, EventType.IDENTITY})
_RESULTS: Final = frozenset({EventType.RESULT, EventType.TOOL_RESULT, EventType.LLM_RESULT})


def plain(name: str, event: Event) -> bool:
    """Whether a field's value may leave the house: it is a name of ours, and no caller's text.

    What the gate itself recorded as done, or found without being asked, is ours. Of calls, a
    server's name and a tool's are once they were let through; a model's, a resource's and a
    prompt's never are.
    """
    if name in _PLAIN:
        return True
    unasked = event.type is EventType.ADMIN and not event.principal
    done = event.type in _OWN and (event.verdict != "deny" or unasked)
    if name == "name":
        return (done or event.verdict == "allow") and event.action in {"", "tool"}
    if name == "server":
        return done or event.verdict == "allow" or event.type in _RESULTS
    return done and (name == "method" or name.startswith(PARAMETER))


def host(source: str) -> str:
    """A source without its port; ``unix`` and ``stdio`` as they are."""
    return source.rpartition(":")[0].strip("[]") or source


def _scalars(value: Any) -> Values:
    if value is None or value == "" or isinstance(value, Mapping):
        return ()
    if isinstance(value, (tuple, list)):
        return tuple(item for item in value if isinstance(item, (str, int, float)))
    return (value,)


_DERIVED: Final[dict[str, Callable[[Event], Values]]] = {
    "finding": lambda event: event.finding_types(),
    "host": lambda event: (host(event.source),) if event.source else (),
    "hour": lambda event: (event.time.hour,),
    "weekday": lambda event: (event.time.isoweekday(),),
}


def marks(event: Event) -> tuple[str, ...]:
    """By what rules are looked up that can fit an event: see ``needed``."""
    found = [f"verdict:{event.verdict}"]
    if event.code:
        found += (f"code:{event.code}", "code:")
    if event.method:
        found += (f"method:{event.method}", "method:")
    if event.findings:
        found.append("finding:")
    return tuple(found)


def needed(name: str, modifier: str, wanted: Values) -> frozenset[str] | None:
    """The marks of which an event has one if a field of it fits; None where that says nothing."""
    exact = not modifier
    if modifier == EXISTS and wanted != (True,):
        return None
    if name == "finding":
        return frozenset({"finding:"})
    if name in {"code", "method"}:
        return frozenset(f"{name}:{one}" for one in wanted) if exact else frozenset({f"{name}:"})
    if name == "verdict" and exact:
        return frozenset(f"verdict:{one}" for one in wanted)
    return None


def _number(value: Value) -> float | None:
    return None if isinstance(value, (str, bool)) else float(value)


def _order(holds: Callable[[float, float], bool]) -> Callable[[Value, Value], bool]:
    def compare(value: Value, bound: Value) -> bool:
        left, right = _number(value), _number(bound)
        return left is not None and right is not None and holds(left, right)

    return compare


def _within(value: Value, network: Value) -> bool:
    try:
        return ipaddress.ip_address(str(value)) in ipaddress.ip_network(str(network))
    except ValueError:
        return False


def _same(value: Value, wanted: Value) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return value == wanted


MODIFIERS: Final[dict[str, Callable[[Value, Value], bool]]] = {
    "": _same,
    "contains": lambda value, part: str(part) in str(value),
    "startswith": lambda value, part: str(value).startswith(str(part)),
    "endswith": lambda value, part: str(value).endswith(str(part)),
    "cidr": _within,
    "gt": _order(lambda left, right: left > right),
    "gte": _order(lambda left, right: left >= right),
    "lt": _order(lambda left, right: left < right),
    "lte": _order(lambda left, right: left <= right),
}
"""How a field's value is held against one of a rule's. Letters' case matters."""
EXISTS: Final = "exists"
"""The modifier that asks whether the field is there at all."""
NUMERIC: Final = frozenset({"gt", "gte", "lt", "lte"})


def test_of(name: str, modifier: str, wanted: Values) -> Test:
    """Whether any value of a field fits any that is wanted."""
    read = reader(name)
    if modifier == EXISTS:
        there = wanted == (True,)
        return lambda event: bool(read(event)) is there
    fits = MODIFIERS[modifier]
    if not modifier and len(wanted) > 1:
        plain = frozenset(one for one in wanted if isinstance(one, str))
        if len(plain) == len(wanted):
            return lambda event: not plain.isdisjoint(read(event))
    return lambda event: any(fits(value, one) for value in read(event) for one in wanted)
