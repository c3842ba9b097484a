"""The ``limits:`` of a policy: named, for whom, and one or more of what can be limited."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Final

import yaml

from portcullis.core.behaviour import RiskLevel
from portcullis.core.limit_told import Measure
from portcullis.core.limits import MICROS, MOST, Ceiling, Dimension, Limit, Requests, Window
from portcullis.policy.yaml import Entry, Reader

_NAME: Final = r"[a-z0-9][a-z0-9_-]{0,62}"
_GLOB: Final = r"[!-~ ]{1,128}"
_DIMENSIONS: Final = tuple(one for one in Dimension if one is not Dimension.ALL)
_WHERE: Final = tuple(one for one in _DIMENSIONS if one is not Dimension.SESSION)
_WHAT: Final = (
    *("requests", "calls", "tokens", "cost", "concurrency", "session_seconds", "rows", "bytes"),
    "burn",
)
_KEYS: Final = ("for", "per", *_WHAT, "risk")
_TOKENS: Final = {
    "input": Measure.INPUT,
    "output": Measure.OUTPUT,
    "total": Measure.TOKENS,
}
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_DECIMAL: Final = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_BYTES: Final = {**_DECIMAL, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_COUNT: Final = r"[0-9][0-9_]{0,18}"
_RATE: Final = re.compile(rf"({_COUNT}) ?/ ?({'|'.join(_SECONDS)})")
_WINDOWS: Final = "|".join(Window)
_NUMBER: Final = re.compile(rf"({_COUNT}) ?/ ?({_WINDOWS})")
_SIZE: Final = re.compile(rf"([0-9][0-9_.]{{0,18}}) ?({'|'.join(_BYTES)}) ?/ ?({_WINDOWS})")
_MONEY: Final = re.compile(rf"([0-9]{{1,9}}(?:\.[0-9]{{1,6}})?) ?USD ?/ ?({_WINDOWS})")
_OTHER_MONEY: Final = re.compile(r"[0-9.]+ ?(?!USD)[A-Z]{3}\b.*")
_MOST_PER: Final = 3
_MOST_PLACES: Final = 100_000


def read_limit(reader: Reader, key: Entry, node: yaml.Node) -> Limit | None:
    """Read one limit; None, with a fault noted, for what is none."""
    path = f"limits.{key.value}"
    if not reader.match(key, "limits", _NAME, "a name of a-z, 0-9, - and _"):
        return None
    keys = reader.section(node, path, _KEYS)
    if not any(name in keys for name in _WHAT):
        reader.fault(node, f"{path} limits nothing", f"Name one of {', '.join(_WHAT)}.")
    ceilings = (
        *_amounts(reader, keys.get("calls"), f"{path}.calls", Measure.CALLS),
        *_tokens(reader, keys.get("tokens"), f"{path}.tokens"),
        *_amounts(reader, keys.get("cost"), f"{path}.cost", Measure.COST),
        *_amounts(reader, keys.get("rows"), f"{path}.rows", Measure.ROWS),
        *_amounts(reader, keys.get("bytes"), f"{path}.bytes", Measure.BYTES),
    )
    places, seconds = keys.get("concurrency"), keys.get("session_seconds")
    limit = Limit(
        name=key.value,
        place=key.place.origin,
        where=_where(reader, keys.get("for"), f"{path}.for"),
        per=_per(reader, keys.get("per"), f"{path}.per"),
        requests=_requests(reader, keys.get("requests"), f"{path}.requests"),
        ceilings=ceilings,
        concurrency=_whole(reader, places, f"{path}.concurrency", _MOST_PLACES),
        session_seconds=_whole(reader, seconds, f"{path}.session_seconds", 10**9),
        burn=_burn(reader, keys.get("burn"), f"{path}.burn", ceilings),
        risk=_risk(reader, keys.get("risk"), f"{path}.risk"),
    )
    named = {*limit.where, *limit.per}
    if {Dimension.TOOL, Dimension.MODEL} <= named:
        reader.fault(node, f"{path}: no call is both of a tool and of a model")
    return limit


def _where(reader: Reader, node: yaml.Node | None, path: str) -> dict[Dimension, tuple[str, ...]]:
    found: dict[Dimension, tuple[str, ...]] = {}
    for name, value in [] if node is None else reader.section(node, path, _WHERE).items():
        place = f"{path}.{name}"
        form = "a name, * for any characters"
        entries: tuple[Entry, ...]
        if isinstance(value, yaml.ScalarNode):
            entry = reader.text(value, place, _GLOB, form)
            entries = () if entry is None else (entry,)
        else:
            entries = reader.texts(value, place, _GLOB, form)
        globs = tuple(one.value for one in entries)
        if not globs:
            reader.fault(value, f"{place} names nobody", "Leave it out for all.")
        found[Dimension(name)] = globs
    return found


def _per(reader: Reader, node: yaml.Node | None, path: str) -> tuple[Dimension, ...]:
    if node is None:
        return (Dimension.AGENT,)
    form = f"one of {', '.join(Dimension)}"
    if isinstance(node, yaml.ScalarNode):
        entry = reader.text(node, path, "|".join(Dimension), form)
        return (Dimension.AGENT,) if entry is None else (Dimension(entry.value),)
    entries = reader.texts(node, path, "|".join(_DIMENSIONS), f"one of {', '.join(_DIMENSIONS)}")
    if not 0 < len(entries) <= _MOST_PER:
        reader.fault(node, f"{path} must name 1 to {_MOST_PER}")
    return tuple(Dimension(entry.value) for entry in entries)


def _requests(reader: Reader, node: yaml.Node | None, path: str) -> Requests | None:
    if node is None:
        return None
    burst = None
    if isinstance(node, yaml.MappingNode):
        keys = reader.section(node, path, ("rate", "burst"))
        if "rate" not in keys:
            reader.fault(node, f"{path} has no rate", "Such as `rate: 60/minute`.")
            return None
        burst = _whole(reader, keys.get("burst"), f"{path}.burst", 10**9)
        node, path = keys["rate"], f"{path}.rate"
    found = _matched(reader, node, path, _RATE, "a rate such as 60/minute")
    if found is None:
        return None
    count, seconds = int(found[1]), _SECONDS[found[2]]
    if not 0 < count <= seconds * MICROS:
        reader.fault(node, f"{path} must be above 0, and not above a million in a second")
        return None
    return Requests(count=count, seconds=seconds, burst=count if burst is None else max(burst, 1))


def _tokens(reader: Reader, node: yaml.Node | None, path: str) -> tuple[Ceiling, ...]:
    if node is None:
        return ()
    keys = reader.section(node, path, tuple(_TOKENS))
    if not keys:
        reader.fault(node, f"{path} limits nothing", "Such as {output: 100000/day}.")
    return tuple(
        ceiling
        for name, value in keys.items()
        for ceiling in _amounts(reader, value, f"{path}.{name}", _TOKENS[name])
    )


def _amounts(
    reader: Reader, node: yaml.Node | None, path: str, measure: Measure
) -> tuple[Ceiling, ...]:
    """One amount for a window, or a list of them, for as many windows."""
    if node is None:
        return ()
    items = reader.items(node, path) if isinstance(node, yaml.SequenceNode) else [node]
    found: dict[Window, Ceiling] = {}
    for item in items:
        ceiling = _ceiling(reader, item, path, measure)
        if ceiling is None:
            continue
        if ceiling.window in found:
            reader.fault(item, f"{path}: {ceiling.window} is said twice")
        found[ceiling.window] = ceiling
    return tuple(found.values())


def _ceiling(reader: Reader, node: yaml.Node, path: str, measure: Measure) -> Ceiling | None:
    if measure is Measure.COST:
        if isinstance(node, yaml.ScalarNode) and _OTHER_MONEY.fullmatch(node.value):
            reader.fault(node, f"{path} is in US dollars, as prices are", "Write 20 USD/month.")
            return None
        found = _matched(reader, node, path, _MONEY, "an amount such as 20 USD/month")
        amount = int(Decimal(found[1]) * MICROS) if found else 0
        window = found[2] if found else ""
    elif measure is Measure.BYTES:
        found = _matched(reader, node, path, _SIZE, "an amount such as 50 MB/hour")
        try:
            amount = int(Decimal(found[1].replace("_", "")) * _BYTES[found[2]]) if found else 0
        except ArithmeticError:
            reader.fault(node, f"{path}: not of the form an amount such as 50 MB/hour")
            return None
        window = found[3] if found else ""
    else:
        found = _matched(reader, node, path, _NUMBER, "an amount such as 10000/hour")
        amount, window = (int(found[1]), found[2]) if found else (0, "")
    if found is None:
        return None
    if amount > MOST:
        reader.fault(node, f"{path} is too large to be counted")
        return None
    return Ceiling(measure=measure, window=Window(window), amount=amount)


def _burn(
    reader: Reader, node: yaml.Node | None, path: str, ceilings: tuple[Ceiling, ...]
) -> float | None:
    if node is None:
        return None
    value = reader.value(node, path)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 < value < math.inf:
        reader.fault(node, f"{path} must be a number above 1", "Times the even pace, such as 10.")
        return None
    if not any((one.measure, one.window) == (Measure.COST, Window.MONTH) for one in ceilings):
        reader.fault(node, f"{path} needs a cost per month", "Such as `cost: 20 USD/month`.")
    return float(value)


def _risk(reader: Reader, node: yaml.Node | None, path: str) -> dict[RiskLevel, float]:
    levels = tuple(one for one in RiskLevel if one is not RiskLevel.NORMAL)
    found = {}
    for name, item in [] if node is None else reader.section(node, path, levels).items():
        value = reader.value(item, f"{path}.{name}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            reader.fault(item, f"{path}.{name} must be a factor from 0 to 1")
            continue
        found[RiskLevel(name)] = float(value)
    return found


def _whole(reader: Reader, node: yaml.Node | None, path: str, most: int) -> int | None:
    if node is None:
        return None
    value = reader.value(node, path)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        reader.fault(node, f"{path} must be a whole number, at most {most}")
        return None
    return value


def _matched(
    reader: Reader, node: yaml.Node, path: str, form: re.Pattern[str], words: str
) -> re.Match[str] | None:
    entry = reader.text(node, path, form.pattern, words)
    return None if entry is None else form.fullmatch(entry.value)
