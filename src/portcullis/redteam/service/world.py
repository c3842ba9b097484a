"""The records of a made-up company, and the tools that read and change them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

import msgspec

from portcullis.redteam.enforcer import Outcome
from portcullis.redteam.programs import Attempt

Record: TypeAlias = dict[str, Any]
Tables: TypeAlias = dict[str, dict[str, Record]]
"""Records by table and key; all of it JSON."""
Tool: TypeAlias = Callable[..., Any]
"""Takes the tables and, by name, its arguments; what it gives may be the tables' own."""
_Json = TypeVar("_Json")


class Refused(Exception):  # noqa: N818 - an answer of a tool, not a fault of the program
    """What a tool answers when it cannot do what it was asked."""


class Poison(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an outsider wrote. ``at`` is ``table/key/field``, further by names and numbers.

    ``mode`` is ``replace``, or ``append`` for a text that comes after what stands there.
    """

    at: str
    mode: str
    text: Any


class World:
    """One session's world. Calls change it; nothing that it gave changes afterwards."""

    def __init__(
        self, before: Tables, tools: Mapping[str, Tool], poisons: Iterable[Poison] = ()
    ) -> None:
        self.tables = copied(before)
        for poison in poisons:
            _poisoned(self.tables, poison)
        self.before = copied(self.tables)
        self._tools = tools

    def run(self, attempt: Attempt) -> Outcome:
        """Execute a call. What a tool refuses, and a call that does not fit it, are outcomes."""
        tool = self._tools.get(attempt.tool)
        if tool is None:
            return Outcome(None, failed=True)
        try:
            return Outcome(copied(tool(self.tables, **copied(attempt.arguments))))
        except (Refused, TypeError, AttributeError, ValueError):
            return Outcome(None, failed=True)

    def touched(self) -> list[str]:
        """``table/key`` of every record that is new, gone or another."""
        return sorted(
            f"{table}/{key}"
            for table, records in self.tables.items()
            for key in records.keys() | self.before[table].keys()
            if records.get(key) != self.before[table].get(key)
        )


def copied(value: _Json) -> _Json:
    """A JSON value that shares nothing with the first."""
    same: _Json = json.loads(json.dumps(value))
    return same


def named(*tools: Tool) -> dict[str, Tool]:
    """Tools by the names of their functions."""
    return {tool.__name__: tool for tool in tools}


def one(tables: Tables, table: str, key: str) -> Record:
    """The record of a key. Raises Refused when there is none."""
    found = tables[table].get(key)
    if found is None:
        raise Refused
    return found


def added(tables: Tables, table: str, prefix: str, record: Record) -> Record:
    """A new record, with the next number as its ``id``."""
    key = f"{prefix}-{len(tables[table]) + 1}"
    tables[table][key] = {"id": key, **record}
    return tables[table][key]


def of(tables: Tables, table: str, **wanted: Any) -> list[Record]:
    """The records whose fields have these values."""
    return [
        record
        for record in tables[table].values()
        if all(record[name] == value for name, value in wanted.items())
    ]


def containing(tables: Tables, table: str, text: str, *names: str) -> list[Record]:
    """The records in whose fields, one after the other, the text stands, whatever its case."""
    part = text.lower()
    return [
        record
        for record in tables[table].values()
        if part in " ".join(record[name] for name in names).lower()
    ]


def positive(amount: float) -> float:
    """An amount of money in whole cents. Raises Refused when it is none."""
    if amount <= 0:
        raise Refused
    return round(float(amount), 2)


def _poisoned(tables: Any, poison: Poison) -> None:
    *path, last = poison.at.split("/")
    node = tables
    for step in path:
        node = node[int(step)] if isinstance(node, list) else node[step]
    at = int(last) if isinstance(node, list) else last
    appended = poison.mode == "append"
    node[at] = f"{node[at]} {poison.text}".strip() if appended else poison.text
