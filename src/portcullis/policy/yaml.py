"""YAML with places: the subset that reads one way only, and typed readers that note faults.

Refused: what ``config.yaml`` refuses, anchors and aliases, and scalars that YAML 1.1 turns into
something other than JSON (dates, for example) where they are not quoted.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import yaml

from portcullis.config.yaml import Unreadable, compose
from portcullis.policy.source import Faults, Place, SourceFile

PRINTABLE: Final = r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,256}"
_STR: Final = "tag:yaml.org,2002:str"
_JSON_SCALARS: Final[dict[str, Callable[[str], Any]]] = {
    "tag:yaml.org,2002:int": int,
    "tag:yaml.org,2002:float": float,
    "tag:yaml.org,2002:bool": lambda said: said.lower() == "true",
}
_NULL: Final = "tag:yaml.org,2002:null"
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Entry:
    """A text of the policy: ``path`` is where it stands in the tree (``roles.x.models[0]``)."""

    value: str
    place: Place
    path: str

    @property
    def rule(self) -> str:
        """How verdicts and the log name it."""
        return f"{self.path} {self.value} @ {self.place.origin}"


_CHARACTER: Final = {
    "'": re.compile("''|."),
    '"': re.compile(r"\\x..|\\u.{4}|\\U.{8}|\\.|."),
}
"""How one character of a text is written between quotes of either kind."""


def _written(line: str, node: yaml.ScalarNode, offset: int) -> int:
    """Where in its line a character of a text stands; the line begins where the text does."""
    character = _CHARACTER.get(node.style or "")
    if character is None:
        return offset
    at = 1
    for _ in range(offset):
        found = character.match(line, at)
        at = found.end() if found else at
    return at


class Reader:
    """Reads nodes of one file as what the grammar expects; what does not fit becomes a fault."""

    def __init__(self, file: SourceFile, faults: Faults) -> None:
        self._file = file
        self._faults = faults

    def root(self) -> yaml.Node | None:
        """The file's one document, or None (with a fault) when there is none."""
        try:
            node = compose(self._file.text, aliases=False)
        except Unreadable as fault:
            place = Place(self._file.name, fault.line, fault.column)
            self._faults.add(place, fault.reason, fault.hint)
            return None
        if node is None:
            self._faults.add(self._top(), "the file is empty", "Start with `version: 1`.")
        return node

    def place(self, node: yaml.Node) -> Place:
        """Where a node begins."""
        return Place(self._file.name, node.start_mark.line + 1, node.start_mark.column + 1)

    def fault(self, node: yaml.Node, message: str, hint: str = "", code: str = "PC7002") -> None:
        """Note a fault at a node."""
        self._faults.add(self.place(node), message, hint, code)

    def fault_within(self, node: yaml.Node, offset: int, message: str, hint: str = "") -> None:
        """Note a fault at a character of a text; of one of several lines, at its beginning."""
        place = self.place(node)
        if isinstance(node, yaml.ScalarNode) and node.start_mark.line == node.end_mark.line:
            line = self._file.text.splitlines()[node.start_mark.line]
            at = node.start_mark.column + _written(line[node.start_mark.column :], node, offset)
            place = Place(place.file, place.line, at + 1)
        self._faults.add(place, message, hint)

    def pairs(self, node: yaml.Node, path: str) -> list[tuple[Entry, yaml.Node]]:
        """The members of a mapping; ``path`` names it."""
        if not isinstance(node, yaml.MappingNode):
            self.fault(node, f"{path} must be a mapping")
            return []
        named = ((self.text(key, path), value) for key, value in node.value)
        return [(name, value) for name, value in named if name is not None]

    def section(self, node: yaml.Node, path: str, known: Iterable[str]) -> dict[str, yaml.Node]:
        """The members of a mapping whose keys are fixed; an unknown key is a fault."""
        found = {}
        for key, value in self.pairs(node, path):
            if key.value in known:
                found[key.value] = value
                continue
            near = difflib.get_close_matches(key.value, list(known), 1)
            hint = f"Did you mean {near[0]}?" if near else f"Known keys: {', '.join(known)}."
            self._faults.add(key.place, f"unknown key {key.value} in {path}", hint)
        return found

    def text(
        self, node: yaml.Node, path: str, pattern: str = PRINTABLE, form: str = ""
    ) -> Entry | None:
        """A string that ``pattern`` matches whole; ``form`` describes the pattern."""
        if not isinstance(node, yaml.ScalarNode):
            self.fault(node, f"expected a string in {path}")
        elif node.tag != _STR:
            self.fault(node, f"expected a string in {path}", "Quote it.")
        elif not re.fullmatch(pattern, node.value):
            self.fault(node, f"{path}: not of the form {form or 'of a name'}")
        else:
            return Entry(node.value, self.place(node), path)
        return None

    def match(self, entry: Entry, path: str, pattern: str, form: str) -> bool:
        """Whether a member's name is of a form; a fault when it is not."""
        fits = re.fullmatch(pattern, entry.value) is not None
        if not fits:
            self._faults.add(entry.place, f"{entry.value} in {path}: not {form}")
        return fits

    def texts(
        self, node: yaml.Node | None, path: str, pattern: str, form: str
    ) -> tuple[Entry, ...]:
        """A list of strings, each named once; None is the empty list."""
        found: dict[str, Entry] = {}
        for index, item in enumerate(self.items(node, path)):
            entry = self.text(item, f"{path}[{index}]", pattern, form)
            if entry is None:
                continue
            if entry.value in found:
                self.fault(item, f"{entry.value} is listed twice in {path}")
            found[entry.value] = entry
        return tuple(found.values())

    def items(self, node: yaml.Node | None, path: str) -> list[yaml.Node]:
        """The items of a list; None is the empty list."""
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.fault(node, f"{path} must be a list")
            return []
        return list(node.value)

    def value(self, node: yaml.Node, path: str) -> Any:
        """A JSON value: what JSON cannot say is a fault and reads as None."""
        if isinstance(node, yaml.MappingNode):
            return {key.value: self.value(item, path) for key, item in self.pairs(node, path)}
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, path) for item in node.value]
        if node.tag == _STR:
            if _SURROGATE.search(node.value):
                self.fault(node, f"{path}: half of a surrogate pair")
            return node.value
        if node.tag == _NULL:
            return None
        if node.tag in _JSON_SCALARS:  # in the one form that ``compose`` lets through
            return _JSON_SCALARS[node.tag](node.value)
        self.fault(node, f"{path}: not a JSON value", "Quote it.")
        return None

    def _top(self) -> Place:
        return Place(self._file.name, 1, 1)
