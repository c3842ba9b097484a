"""The fields of events as rules name them, and the tests of their values (Sigma's modifiers)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, TypeAlias

from portcullis.core.call import Action, RiskClass
from portcullis.core.codes import CODES
from portcullis.core.event import Event, EventType, ResultSummary
from portcullis.core.names import HIDDEN
from portcullis.core.principal import PrincipalKind
from portcullis.oversight.alerts.rule import Test

Value: TypeAlias = str | int | float | bool
Values: TypeAlias = tuple[Value, ...]

_COMMON: Final = tuple(
    name
    for name in Event.__struct_fields__
    if name not in {"v", "parameters", "commitments", "result", "findings", "time", "features"}
)
_RESULT: Final = tuple(f"result.{name}" for name in ResultSummary.__struct_fields__)
_OF_OURS: Final = ("called", "finding", "host", "hour", "limit", "network", "weekday")
FIELDS: Final = (*_COMMON, *_RESULT, *_OF_OURS)
"""Every field but ``parameters.NAME``. ``called``: the name, or the commitment to one that is
hidden. ``finding``: the types found, each once. ``host``: the source without its port. ``network``:
the same, of IPv6 its /64, which one host fills with addresses. ``limit``: which of the policy's
refused it. ``hour`` (0 to 23) and ``weekday`` (1, Monday, to 7) are in UTC."""
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
        *("finding", "host", "hour", "limit", "network", "weekday"),
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


@lru_cache(4096)
def _from(source: str) -> str:
    found = host(source)
    if ":" not in found:
        return found
    try:
        return str(ipaddress.ip_network(f"{found}/64", strict=False))
    except ValueError:
        return found


def _called(event: Event) -> str:
    return event.commitments.get("name", event.name) if event.name == HIDDEN else event.name


def _limit(event: Event) -> str:
    """The name of the limit that refused a call: ``checks/limit.py`` begins its reasons so."""
    if not event.code.startswith("PC307") or not event.reason.startswith("limit "):
        return ""
    return event.reason.removeprefix("limit ").partition(":")[0]


def _scalars(value: Any) -> Values:
    if value is None or value == "" or isinstance(value, Mapping):
        return ()
    if isinstance(value, (tuple, list)):
        return tuple(item for item in value if isinstance(item, (str, int, float)))
    return (value,)


_DERIVED: Final[dict[str, Callable[[Event], Values]]] = {
    "called": lambda event: _scalars(_called(event)),
    "limit": lambda event: _scalars(_limit(event)),
    "network": lambda event: (_from(event.source),) if event.source else (),
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


_network: Final = lru_cache(4096)(ipaddress.ip_network)
"""A rule's networks: as many as there are in the files of rules."""


def _within(value: Value, network: Value) -> bool:
    try:
        return ipaddress.ip_address(str(value)) in _network(str(network))
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
WORDS: Final[Mapping[str, Values]] = {
    "type": tuple(EventType),
    "principal_kind": tuple(PrincipalKind),
    "action": tuple(Action),
    "risk": tuple(RiskClass),
    "verdict": ("allow", "deny", "hold", "error"),
    "code": tuple(CODES),
    "hour": tuple(range(24)),
    "weekday": tuple(range(1, 8)),
    "review": (True,),
    "result.error": (True, False),
}
"""Fields that have one of so many values, or none, and no other."""
_NUMBERS: Final = frozenset(
    {"request_bytes", "input_tokens", "output_tokens", "sequence"}
    | {"result.bytes", "result.proposals", "result.chunks"}
)


def possible(name: str, modifier: str, wanted: Value) -> bool:
    """Whether a field can ever have what is wanted: a rule about what never is would be silent."""
    if name.startswith(PARAMETER) or modifier == EXISTS:
        return True
    if name in WORDS:
        return any(MODIFIERS[modifier](one, wanted) for one in WORDS[name])
    if modifier in NUMERIC:
        return name in _NUMBERS
    return bool(modifier) or isinstance(wanted, str) is (name not in _NUMBERS)


def test_of(name: str, modifier: str, wanted: Values) -> Test:
    """Whether any value of a field fits any that is wanted."""
    read = reader(name)
    if modifier == EXISTS:
        there = wanted == (True,)
        return lambda event: bool(read(event)) is there
    fits = MODIFIERS[modifier]
    texts = frozenset(one for one in wanted if isinstance(one, str))
    if not modifier and len(texts) == len(set(wanted)):
        if name in _COMMON and name not in _LISTS and "" not in texts:
            value = attrgetter(name)
            return lambda event: value(event) in texts
        return lambda event: not texts.isdisjoint(read(event))
    return lambda event: any(fits(value, one) for value in read(event) for one in wanted)
