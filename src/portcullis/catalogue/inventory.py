"""What tools each server or toolset offers, with the schemas of those that are called compiled."""

from __future__ import annotations

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from portcullis.catalogue.definition import digest
from portcullis.catalogue.pins import PinBook, Seen
from portcullis.catalogue.schema import UnusableSchema, Validator, closed
from portcullis.core.call import ToolSpec
from portcullis.core.verdict import Deny

LOOK_AGAIN_SECONDS: Final = 5.0
"""How long a server's tools are taken for what they were before one of them is refused."""
MAX_DECLINED: Final = 4096
"""Definitions that were offered and declined, of which it is known why."""
_UNUSABLE: Final = ("$: the tool's schema cannot be enforced",)


@dataclass(frozen=True)
class _Tool:
    """A tool, or what its server lists ``twice`` under one name.

    Its schemas are compiled when it is first called: a server may list thousands. None in place
    of a validator means that its schema cannot be enforced.
    """

    spec: ToolSpec
    twice: bool
    seen: Seen | None

    @cached_property
    def input(self) -> Validator | None:
        """Holds its arguments."""
        return None if self.twice else _compile(closed(self.spec.input_schema))

    @cached_property
    def output(self) -> Validator | None:
        """Holds its structured results, where it has an output schema."""
        return _compile(self.spec.output_schema or {})


class LocalInventory:
    """Implements ``core.ports.Inventory`` in memory.

    Arguments that a schema does not name are refused unless the schema explicitly lets them in
    (see ``schema.closed``). A tool that its server lists twice is unusable: nobody can say which
    of the two would run. ``narrow`` adds the policy's own schema fragments, which hold beside
    the server's, and ``tolerate`` the rules of suspicious values that it switches off. With a
    ``book`` of pins a tool is usable only as it was approved. ``monotonic`` is the time in seconds.
    """

    def __init__(
        self, book: PinBook | None = None, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._book = book
        self._monotonic = monotonic
        self._looked: dict[str, float] = {}
        self._servers: dict[str, dict[str, _Tool]] = {}
        self._stale: set[str] = set()
        self._declined: OrderedDict[tuple[str, str, str], tuple[Seen, float]] = OrderedDict()
        self._fragments: dict[str, dict[str, Validator]] = {}
        self._tolerated: Mapping[str, Mapping[str, frozenset[str]]] = {}

    def known(self, server: str) -> bool:
        """Whether a full tools/list of the server has been seen since it was last forgotten."""
        return server in self._servers and server not in self._stale

    async def listed(
        self, server: str, tools: Sequence[ToolSpec], *, whole: bool
    ) -> frozenset[str]:
        """Take note of a list of the server's, or a page of one; the names that are usable.

        A page that says something else of a tool than is known has the server unknown again.
        """
        book = self._book
        seen = {} if book is None else await book.sight(server, tools)
        if whole:
            self.learn(server, tools, seen)
        elif any(self.tool(server, spec.name) not in (None, spec) for spec in tools):
            self.forget(server)
        return frozenset(
            spec.name
            for spec in tools
            if book is None or book.refusal(server, spec.name, seen[spec.name]) is None
        )

    async def offered(self, server: str, tool: ToolSpec) -> None:
        """Take note of a tool as whoever calls it describes it, if it is as it was approved.

        Any other leaves what is known as it is: one caller's wrong definition costs nobody else
        the right one. What was declined is held against its pin again LOOK_AGAIN_SECONDS later.
        """
        book, known = self._book, self._servers.setdefault(server, {})
        same = known.get(tool.name)
        if same is not None and same.spec == tool and self.refusal(server, tool.name) is None:
            return
        seen, key, now = None, _key(server, tool), self._monotonic()
        if book is not None:
            seen, until = self._declined.get(key, (None, -math.inf))
            if now < until and seen is not None and book.refusal(server, tool.name, seen):
                return
            seen = (await book.sight(server, [tool]))[tool.name]
            if book.refusal(server, tool.name, seen) is not None:
                self._declined[key] = seen, now + LOOK_AGAIN_SECONDS
                if len(self._declined) > MAX_DECLINED:
                    self._declined.popitem(last=False)
                return
        known[tool.name] = _Tool(tool, twice=False, seen=seen)

    def declined(self, server: str, tool: ToolSpec) -> Deny | None:
        """Why a tool that was offered is not what is known of it."""
        found = self._declined.get(_key(server, tool))
        if self._book is None or found is None:
            return None
        return self._book.refusal(server, tool.name, found[0])

    def refusal(self, server: str, name: str) -> Deny | None:
        """Why a tool may not be called at all: it is not the one that was approved."""
        tool = self._servers.get(server, {}).get(name)
        if self._book is None or tool is None:
            return None
        if tool.seen is None:
            return Deny(code="PC3026", reason="it was not held against its pin")
        return self._book.refusal(server, name, tool.seen)

    def due(self, server: str, name: str) -> bool:
        """Whether to list the server's tools again before this one is refused.

        True once in LOOK_AGAIN_SECONDS of a server, however many ask: whoever is told so lists.
        """
        if self.tool(server, name) is not None and self.refusal(server, name) is None:
            return False
        now = self._monotonic()
        if now < self._looked.get(server, -math.inf) + LOOK_AGAIN_SECONDS:
            return False
        self._looked[server] = now
        return True

    def learn(
        self, server: str, tools: Sequence[ToolSpec], seen: Mapping[str, Seen] | None = None
    ) -> None:
        """Replace the server's tools; ``seen`` is what the book of pins made of them."""
        self._stale.discard(server)
        self._looked[server] = self._monotonic()
        seen = seen or {}
        times = Counter(spec.name for spec in tools)
        before, now = self._servers.get(server, {}), {}
        for spec in tools:
            tool = _Tool(spec, times[spec.name] > 1, seen.get(spec.name))
            same = before.get(spec.name)
            now[spec.name] = same if same == tool and same is not None else tool
        self._servers[server] = now

    def forget(self, server: str) -> None:
        """Have the server unknown again: its tools are to be listed before the next call.

        What it said of them stands until then, for the results of calls that are on their way:
        a server cannot get rid of a schema by announcing another list.
        """
        self._stale.add(server)

    def narrow(self, fragments: Mapping[str, Mapping[str, Any]]) -> None:
        """Put in force the policy's schemas: qualified tool -> argument -> schema.

        Raises UnusableSchema, changing nothing, for a schema that does not compile.
        """
        self._fragments = {
            tool: {name: Validator(schema) for name, schema in schemas.items()}
            for tool, schemas in fragments.items()
        }

    def tolerate(self, table: Mapping[str, Mapping[str, frozenset[str]]]) -> None:
        """Put in force what policy tolerates: qualified tool -> argument -> names of rules."""
        self._tolerated = {tool: dict(arguments) for tool, arguments in table.items()}

    def tolerated(self, server: str, tool: str) -> Mapping[str, frozenset[str]]:
        """The rules that do not hold in a tool's arguments, by argument."""
        return self._tolerated.get(f"{server}.{tool}", {})

    def tool(self, server: str, name: str) -> ToolSpec | None:
        """The tool as its server described it, or None."""
        found = self._servers.get(server, {}).get(name)
        return None if found is None else found.spec

    def validate(self, server: str, name: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """What the arguments break, as ``path: keyword``. KeyError for an unknown tool."""
        tool = self._servers.get(server, {})[name]
        if tool.input is None:
            return _UNUSABLE
        broken = tool.input.check(arguments)
        for argument, validator in self._fragments.get(f"{server}.{name}", {}).items():
            if argument in arguments:
                found = validator.check(arguments[argument])
                broken += tuple(f"$.{argument}{text.removeprefix('$')}" for text in found)
        return broken

    def validate_output(self, server: str, tool: ToolSpec, value: Any) -> tuple[str, ...]:
        """What a structured result breaks; without an output schema everything fits.

        ``tool`` may be listed otherwise by now, or not at all.
        """
        if tool.output_schema is None:
            return ()
        listed = self._servers.get(server, {}).get(tool.name)
        if listed is None or listed.spec is not tool:
            listed = _Tool(tool, twice=False, seen=None)
        validator = listed.output
        return _UNUSABLE if validator is None else validator.check(value)


def _key(server: str, tool: ToolSpec) -> tuple[str, str, str]:
    return server, tool.name, digest(tool.definition)


def _compile(schema: Mapping[str, Any]) -> Validator | None:
    try:
        return Validator(dict(schema))
    except UnusableSchema:
        return None
