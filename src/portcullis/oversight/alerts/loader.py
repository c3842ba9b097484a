"""Rules from YAML: strict, with the line of everything that is wrong.

::

    version: 1
    alerts:
      refused-often:
        title: Many refused calls of one agent
        level: medium
        threat: authorize
        detection:
          refused: {type: [tool_call, decision], verdict: deny}
          waits: {code: PC3040}
          condition: refused and not waits
        correlation:
          type: event_count
          group-by: [principal]
          timespan: 5m
          condition: {gte: 20}

``resolve: {after: 30m, by: SELECTION}`` says when what was raised is over: it was quiet for so
long, or an event of the same group fits a selection that is there for that alone.

A selection is a mapping of fields (``name|modifier``) to a value or a list, all of which have to
fit, one of each list; or a list of such mappings, of which one has to.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

import yaml

from portcullis.core.alert import Level
from portcullis.core.event import Event
from portcullis.oversight.alerts.condition import EVERY, Part, Unclear, condition, every, some
from portcullis.oversight.alerts.fields import (
    EXISTS,
    FIELDS,
    MODIFIERS,
    NUMERIC,
    PARAMETER,
    WORDS,
    known,
    needed,
    possible,
    test_of,
)
from portcullis.oversight.alerts.rule import Correlation, Join, Rule, Test
from portcullis.oversight.alerts.state import VALUES
from portcullis.policy.source import Faults, SourceFile
from portcullis.policy.yaml import Entry, Reader

_NAME: Final = r"[a-z][a-z0-9-]{0,62}"
_SELECTION: Final = r"[A-Za-z][A-Za-z0-9_-]{0,62}"
_TEXT: Final = r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,1000}"
_SPAN: Final = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST: Final = 90 * 86400
_MOST: Final = 10_000
_SELECTIONS: Final = 64
"""Most selections of one rule: every event is held against them."""
_RULE: Final = (
    *("title", "level", "description", "threat", "playbook", "advice", "false-positives"),
    *("detection", "correlation", "group-by", "keep", "resolve"),
)
_CORRELATION: Final = ("type", "group-by", "timespan", "field", "condition", "rules")


def _never(event: Event) -> bool:
    del event
    return False


_NEVER: Final = Part(_never, frozenset())
"""Stands for what is faulty."""


def load(files: tuple[SourceFile, ...]) -> tuple[Rule, ...]:
    """The rules of these files, in their order. Raises Problem PC7002 with every fault."""
    faults = Faults(files)
    found: dict[str, Rule] = {}
    for file in files:
        reader = Reader(file, faults)
        root = reader.root()
        if root is None:
            continue
        parts = reader.section(root, "the file", ("version", "alerts"))
        version = parts.get("version")
        if version is None or reader.value(version, "version") != 1:
            reader.fault(version or root, "version must be 1", "Start with `version: 1`.")
        if "alerts" not in parts:
            reader.fault(root, "there are no alerts", "Name them under `alerts:`.")
            continue
        for name, node in reader.pairs(parts["alerts"], "alerts"):
            if not reader.match(name, "alerts", _NAME, "a name of a-z, 0-9 and -"):
                continue
            if name.value in found:
                reader.fault(node, f"{name.value} is named twice")
            found[name.value] = _Rule(reader, name, node).read()
    faults.raise_any()
    return tuple(found.values())


def _hint(field: str) -> str:
    """What a field can be."""
    words = WORDS.get(field, ())
    if field == "code":
        return "`portcullis explain CODE` knows them all."
    return f"One of {', '.join(map(str, words))}." if words else "Quote a text; compare numbers."


def _network(value: object) -> bool:
    try:
        ipaddress.ip_network(str(value))
    except ValueError:
        return False
    return True


class _Rule:
    def __init__(self, reader: Reader, name: Entry, node: yaml.Node) -> None:
        self._reader = reader
        self._node = node
        self._name = name.value
        self._path = f"alerts.{name.value}"
        self._parts = reader.section(node, self._path, _RULE)
        self._selections: dict[str, Part] = {}

    def read(self) -> Rule:
        """The rule; where something is wrong with it, a fault is noted and it is of no use."""
        kept = self._keep()
        quiet, by = self._resolve(kept=kept)
        detected, over = self._detection(by)
        correlation = self._correlation()
        looked_at = detected if over is None else some([detected, over])
        return Rule(
            name=self._name,
            title=self._text("title", needed=True),
            level=self._level(),
            test=detected.test,
            types=frozenset() if looked_at.types == EVERY else looked_at.types,
            marks=looked_at.marks,
            by=self._fields("group-by"),
            correlation=correlation,
            description=self._text("description"),
            threat=self._text("threat"),
            playbook=self._text("playbook"),
            advice=self._text("advice"),
            false_positives=tuple(
                entry.value
                for entry in self._reader.texts(
                    self._parts.get("false-positives"), f"{self._path}.false-positives", _TEXT, ""
                )
            ),
            kept=kept,
            over=None if over is None else over.test,
            quiet=quiet,
        )

    def _text(self, key: str, *, needed: bool = False) -> str:
        node = self._parts.get(key)
        if node is None:
            if needed:
                self._reader.fault(self._node, f"{self._path} has no {key}")
            return ""
        entry = self._reader.text(node, f"{self._path}.{key}", _TEXT, "one line of text")
        return entry.value if entry else ""

    def _level(self) -> Level:
        text = self._text("level", needed=True)
        if text and text not in set(Level):
            words = ", ".join(Level)
            self._reader.fault(self._parts["level"], f"no such level: {text}", f"One of {words}.")
        return Level(text) if text in set(Level) else Level.LOW

    def _keep(self) -> bool:
        node = self._parts.get("keep")
        value = False if node is None else self._reader.value(node, f"{self._path}.keep")
        if node is not None and not isinstance(value, bool):
            self._reader.fault(node, "keep is true or false")
        return value is True

    def _resolve(self, *, kept: bool) -> tuple[float, Entry | None]:
        """After how many quiet seconds it is over, and which selection says so."""
        node = self._parts.get("resolve")
        if node is None:
            return 0.0, None
        path = f"{self._path}.resolve"
        parts = self._reader.section(node, path, ("after", "by"))
        after, by = parts.get("after"), parts.get("by")
        if after is None and by is None:
            self._reader.fault(node, f"{path} says nothing", "Such as {after: 30m}.")
        if after is not None and kept:
            hint = "What must not be missed does not end by itself; name an event with by."
            self._reader.fault(after, f"{path}.after does not go with keep", hint)
        quiet = 0.0 if after is None else self._span(after, node, path, "after")
        named = self._reader.text(by, f"{path}.by", _SELECTION, "a selection") if by else None
        return quiet, named

    def _detection(self, by: Entry | None) -> tuple[Part, Part | None]:
        """What it is about, and what says that it is over."""
        node = self._parts.get("detection")
        if node is None:
            self._reader.fault(self._node, f"{self._path} has no detection")
            return _NEVER, None
        path, wanted, place = f"{self._path}.detection", None, node
        for name, part in self._reader.pairs(node, path):
            if name.value == "condition":
                wanted, place = self._reader.text(part, f"{path}.condition", _TEXT, ""), part
            elif self._reader.match(name, path, _SELECTION, "the name of a selection"):
                self._selections[name.value] = self._selection(name.value, part)
        if len(self._selections) > _SELECTIONS:
            self._reader.fault(node, f"{path} has more than {_SELECTIONS} selections")
        over = None
        if by is not None:
            over = self._selections.pop(by.value, None)
            if over is None:
                self._reader.fault(self._parts["resolve"], f"there is no selection {by.value}")
        return self._joined(node, path, wanted, place), over

    def _joined(self, node: yaml.Node, path: str, wanted: Entry | None, place: yaml.Node) -> Part:
        if wanted is None:
            if len(self._selections) == 1:
                return next(iter(self._selections.values()))
            if self._parts.get("correlation") is None or not self._selections:
                hint = "Say which selections make it, such as `one and not other`."
                self._reader.fault(node, f"{path} has no condition", hint)
                return _NEVER
            return condition("1 of them", self._selections)
        try:
            return condition(wanted.value, self._selections)
        except Unclear as unclear:
            self._reader.fault(place, f"{path}.condition: {unclear}")
            return _NEVER

    def _selection(self, name: str, node: yaml.Node) -> Part:
        path = f"{self._path}.detection.{name}"
        if isinstance(node, yaml.SequenceNode):
            parts = [
                self._fits(item, f"{path}[{number}]") for number, item in enumerate(node.value)
            ]
            if not parts:
                self._reader.fault(node, f"{path} selects nothing")
            return some(parts)
        return self._fits(node, path)

    def _fits(self, node: yaml.Node, path: str) -> Part:
        parts = []
        for key, part in self._reader.pairs(node, path):
            field, _, modifier = key.value.partition("|")
            if not known(field):
                hint = f"Fields are {', '.join(FIELDS)} and {PARAMETER}NAME."
                self._reader.fault(part, f"no such field: {field}", hint)
                continue
            if modifier and modifier != EXISTS and modifier not in MODIFIERS:
                words = ", ".join(filter(None, (*MODIFIERS, EXISTS)))
                self._reader.fault(part, f"no such modifier: {modifier}", f"One of {words}.")
                continue
            value = self._reader.value(part, f"{path}.{key.value}")
            values = tuple(value) if isinstance(value, list) else (value,)
            if not self._wanted(part, path, modifier, values):
                continue
            typed = field == "type" and not modifier
            types = EVERY & frozenset(map(str, values)) if typed else EVERY
            for one in values:
                if not possible(field, modifier, one):
                    self._reader.fault(part, f"{key.value} is never {one}", _hint(field))
            marks = needed(field, modifier, values)
            parts.append(Part(test_of(field, modifier, values), types, marks))
        if not parts:
            self._reader.fault(node, f"{path} selects nothing", "Name at least one field.")
            return _NEVER
        return every(parts)

    def _wanted(self, node: yaml.Node, path: str, modifier: str, values: Sequence[object]) -> bool:
        kinds: tuple[type, ...] = (str, int, float, bool)
        if modifier == EXISTS:
            fits = len(values) == 1 and isinstance(values[0], bool)
        elif modifier in NUMERIC:
            fits = len(values) == 1 and type(values[0]) in {int, float}
        else:
            fits = bool(values) and all(isinstance(value, kinds) for value in values)
        if fits and modifier == "cidr":
            fits = all(map(_network, values))
        if not fits:
            self._reader.fault(node, f"{path}: not a value that {modifier or 'a field'} can have")
        return fits

    def _fields(self, key: str, node: yaml.Node | None = None) -> tuple[str, ...]:
        node = node or self._parts.get(key)
        entries = self._reader.texts(node, f"{self._path}.{key}", _TEXT, "a field")
        for entry in entries:
            if not known(entry.value):
                self._reader.fault(node or self._node, f"no such field: {entry.value}")
        return tuple(entry.value for entry in entries)

    def _correlation(self) -> Correlation | None:
        node = self._parts.get("correlation")
        if node is None:
            return None
        path = f"{self._path}.correlation"
        if "group-by" in self._parts:
            hint = "What joins events groups them: name it within the correlation."
            self._reader.fault(self._parts["group-by"], f"group-by beside {path}", hint)
        parts = self._reader.section(node, path, _CORRELATION)
        kind = parts.get("type")
        text = self._reader.text(kind, f"{path}.type", _TEXT, "") if kind else None
        if text is None or text.value not in set(Join):
            self._reader.fault(kind or node, f"{path}.type: one of {', '.join(Join)}")
            return None
        join = Join(text.value)
        field = ""
        if join in {Join.VALUE_COUNT, Join.NEW_VALUE}:
            fields = parts.get("field")
            entry = self._reader.text(fields, f"{path}.field", _TEXT, "") if fields else None
            if entry is None or not known(entry.value):
                self._reader.fault(fields or node, f"{path}.field: name a field")
            field = entry.value if entry else ""
        return Correlation(
            join=join,
            by=self._fields("correlation.group-by", parts.get("group-by")),
            seconds=self._span(parts.get("timespan"), node, path),
            least=self._least(parts.get("condition"), node, path, join),
            field=field,
            steps=self._steps(parts.get("rules"), node, path, join),
        )

    def _span(
        self, node: yaml.Node | None, above: yaml.Node, path: str, key: str = "timespan"
    ) -> float:
        entry = self._reader.text(node, f"{path}.{key}", _TEXT, "") if node else None
        found = _SPAN.fullmatch(entry.value) if entry else None
        seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
        if not 0 < seconds <= _LONGEST:
            hint = "Such as 30s, 5m, 2h or 14d, at most 90d."
            self._reader.fault(node or above, f"{path}.{key}: not a time", hint)
        return seconds

    def _least(self, node: yaml.Node | None, above: yaml.Node, path: str, join: Join) -> int:
        if join not in {Join.EVENT_COUNT, Join.VALUE_COUNT}:
            if node is not None:
                self._reader.fault(node, f"{path}: {join} has no condition")
            return 1
        value = self._reader.value(node, f"{path}.condition") if node else None
        least = value.get("gte") if isinstance(value, dict) and set(value) == {"gte"} else None
        most = _MOST if join is Join.EVENT_COUNT else VALUES
        if type(least) is not int or not 0 < least <= most:
            hint = f"Such as {{gte: 20}}, at most {most}."
            self._reader.fault(node or above, f"{path}.condition: not a count", hint)
            return 1
        return least

    def _steps(
        self, node: yaml.Node | None, above: yaml.Node, path: str, join: Join
    ) -> tuple[Test, ...]:
        if join not in {Join.TEMPORAL, Join.TEMPORAL_ORDERED}:
            if node is not None:
                self._reader.fault(node, f"{path}: {join} has no rules")
            return ()
        entries = self._reader.texts(node, f"{path}.rules", _SELECTION, "the name of a selection")
        for entry in entries:
            if entry.value not in self._selections:
                self._reader.fault(node or above, f"there is no selection {entry.value}")
        if len(entries) < 2:  # noqa: PLR2004 - one joins nothing
            self._reader.fault(node or above, f"{path}.rules: name at least two selections")
        return tuple(self._selections.get(entry.value, _NEVER).test for entry in entries)
