"""Pins: a tool is the one that was approved, word for word, or it is neither shown nor called.

A tool is pinned when it is first seen (trust on first use). From then on a server that says
anything else about it (description, schema, annotations) offers another tool, until an operator
approves that one or the server returns to what is pinned. A definition that instructs the model
is never trusted by being seen: an operator has to approve exactly it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
import structlog

from portcullis.catalogue.definition import digest, texts
from portcullis.core.call import ToolSpec
from portcullis.core.event import Event, EventType
from portcullis.core.inspection_ports import Pin, Pins, Sighting
from portcullis.core.names import HIDDEN, made_of_words
from portcullis.core.ports import Clock, Recorder
from portcullis.core.verdict import Deny

log = structlog.get_logger(__name__)
_T = TypeVar("_T")

MAX_TOOLS: Final = 1024
"""Most tools of one server that are pinned, ever: further ones are not usable."""
MAX_DEFINITION: Final = 128 * 1024
"""Longest definition that is pinned, in characters; a schema is not longer either."""
MAX_NAME: Final = 128
"""Longest name of a tool, in characters (MCP, tools, tool names)."""
WATCH_SECONDS: Final = 1.0
"""How soon an approval is in force that another process wrote."""

_SCANNED: Final = 4096
_IN_ONE_EVENT: Final = 64

Scan: TypeAlias = Callable[[Sequence[str]], tuple[str, ...]]
"""Why texts look like instructions to a model, in names of rules; empty when they do not."""


class Standing(StrEnum):
    """What a tool is, as its server describes it now."""

    NEW = "new"
    PINNED = "pinned"
    CHANGED = "changed"
    SUSPECT = "suspect"


class Seen(msgspec.Struct, frozen=True):
    """A tool as a server listed it: the digest of its definition, why it is suspect if it is."""

    digest: str
    reasons: tuple[str, ...]


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a tool in memory; ``seen`` is the digest of its sighting."""

    digest: str = ""
    approved: bool = False
    seen: str = ""


_NOTHING: Final = _Known()


def standing(known: _Known | None, seen: Seen) -> Standing:
    """Hold what was seen of a tool against what is known of it."""
    known = known or _NOTHING
    same = known.digest == seen.digest
    if seen.reasons and not (same and known.approved):
        return Standing.SUSPECT
    if not known.digest:
        return Standing.NEW
    return Standing.PINNED if same else Standing.CHANGED


class PinBook:
    """The pins in memory, kept as they are in the store. Use it from one event loop.

    Each pin and each new mismatch is recorded durably before it takes effect: by its name, where
    that is made of words, and by its digest. ``gateway`` and ``new_id`` are the events' own.
    """

    def __init__(
        self,
        pins: Pins,
        *,
        scan: Scan,
        recorder: Recorder,
        clock: Clock,
        gateway: str,
        new_id: Callable[[], str],
    ) -> None:
        self._pins = pins
        self._scan = scan
        self._recorder = recorder
        self._clock = clock
        self._gateway = gateway
        self._new_id = new_id
        self._lock = asyncio.Lock()
        self._version = -1
        self._tools: dict[tuple[str, str], _Known] = {}
        self._scanned: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    async def watch(self) -> None:
        """Follow what other processes approve, until cancelled."""
        while True:
            try:
                await self.refresh()
            except Exception:
                log.exception("pins_not_read")
            await asyncio.sleep(WATCH_SECONDS)

    async def refresh(self) -> None:
        """Read the store again if it changed."""
        async with self._lock:
            await self._current()

    async def sight(self, server: str, tools: Sequence[ToolSpec]) -> dict[str, Seen]:
        """Take note of tools as a server lists them: pin new ones, note what is not as pinned."""
        async with self._lock:
            await self._current()
            seen = {tool.name: await self._seen(tool.definition) for tool in tools}
            await self._note(server, tools, seen)
        return seen

    def refusal(self, server: str, tool: str, seen: Seen) -> Deny | None:
        """Why a tool, as it was seen, may not be used; None when it may."""
        match standing(self._tools.get((server, tool)), seen):
            case Standing.PINNED:
                return None
            case Standing.SUSPECT:
                return Deny(code="PC3027", reason=f"its definition: {', '.join(seen.reasons)}")
            case Standing.CHANGED:
                return Deny(code="PC3026", reason="its definition is not the pinned one")
            case _:
                return Deny(code="PC3026", reason="it could not be pinned")

    async def _seen(self, definition: str) -> Seen:
        found = digest(definition)
        reasons = self._scanned.get(found)
        if reasons is None:
            reasons = self._scan(texts(definition))
            self._scanned[found] = reasons
            if len(self._scanned) > _SCANNED:
                self._scanned.popitem(last=False)
            await asyncio.sleep(0)  # others first: there may be a thousand more
        return Seen(found, reasons)

    async def _note(self, server: str, tools: Sequence[ToolSpec], seen: Mapping[str, Seen]) -> None:
        now, room = self._clock.now(), MAX_TOOLS - sum(key[0] == server for key in self._tools)
        new: list[Pin] = []
        other: list[Sighting] = []
        settled: list[str] = []
        too_many = 0
        for tool in tools:
            name, said = tool.name, seen[tool.name]
            known = self._tools.get((server, name))
            found = standing(known, said)
            if found is Standing.PINNED:
                if known is not None and known.seen:
                    settled.append(name)
                continue
            if known is not None and known.seen == said.digest and found is not Standing.NEW:
                continue
            fits = len(tool.definition) <= MAX_DEFINITION and len(name) <= MAX_NAME
            if not fits or (known is None and len(new) + len(other) >= room):
                too_many += 1
            elif found is Standing.NEW:
                new.append(_pin(server, tool, said, now))
            else:
                other.append(_sighting(server, tool, said, now))
        if too_many:
            log.warning("tools_not_pinned", server=server, tools=too_many)
        await self._record(server, new, other)
        await self._keep(server, new, other, settled)

    async def _keep(
        self,
        server: str,
        new: Sequence[Pin],
        other: Sequence[Sighting],
        settled: Sequence[str],
    ) -> None:
        if new:
            await asyncio.to_thread(self._pins.add, new)
        if other:
            await asyncio.to_thread(self._pins.saw, other)
        if settled:
            await asyncio.to_thread(self._pins.settled, server, settled)
        if new or other or settled:
            await self._current()

    async def _record(self, server: str, new: Sequence[Pin], other: Sequence[Sighting]) -> None:
        suspect = [sighting for sighting in other if sighting.reasons]
        changed = [
            sighting
            for sighting in other
            if self._tools.get((server, sighting.tool), _NOTHING).digest
            not in {"", sighting.digest}
        ]
        kinds: tuple[tuple[str, str, Sequence[Pin | Sighting]], ...] = (
            ("catalogue.pin", "", new),
            ("catalogue.changed", "PC3026", changed),
            ("catalogue.suspect", "PC3027", suspect),
        )
        events = [
            self._event(method, code, server, some)
            for method, code, tools in kinds
            for some in _portions(tools)
        ]
        for event in events[:-1]:
            self._recorder.enqueue(event)
        for event in events[-1:]:
            await self._recorder.durable(event)

    def _event(self, method: str, code: str, server: str, tools: Sequence[Pin | Sighting]) -> Event:
        names = [tool.tool if made_of_words(tool.tool) else HIDDEN for tool in tools]
        keys = [f"{name}{at}" if name == HIDDEN else name for at, name in enumerate(names)]
        parameters: dict[str, Any] = {
            "tools": {key: tool.digest for key, tool in zip(keys, tools, strict=True)}
        }
        reasons = {
            key: list(tool.reasons)
            for key, tool in zip(keys, tools, strict=True)
            if isinstance(tool, Sighting) and tool.reasons
        }
        return Event(
            v=1,
            id=self._new_id(),
            time=datetime.fromtimestamp(self._clock.now(), UTC),
            type=EventType.ADMIN,
            gateway=self._gateway,
            method=method,
            server=server,
            name=names[0] if len(names) == 1 else "",
            parameters=parameters | ({"reasons": reasons} if reasons else {}),
            verdict="deny" if code else "allow",
            code=code,
        )

    async def _current(self) -> None:
        """Read the store unless it is as it was."""
        found = await asyncio.to_thread(self._pins.version)
        if found == self._version:
            return
        pins, sightings = await asyncio.to_thread(
            lambda: (self._pins.all(), self._pins.sightings())
        )
        seen = {(one.server, one.tool): one.digest for one in sightings}
        tools = {key: _Known(seen=other) for key, other in seen.items()}
        for pin in pins:
            key = (pin.server, pin.tool)
            tools[key] = _Known(
                digest=pin.digest, approved=bool(pin.approved_by), seen=seen.get(key, "")
            )
        self._tools, self._version = tools, found


def _pin(server: str, tool: ToolSpec, seen: Seen, now: float) -> Pin:
    return Pin(
        server=server,
        tool=tool.name,
        digest=seen.digest,
        definition=tool.definition,
        pinned_at=now,
    )


def _sighting(server: str, tool: ToolSpec, seen: Seen, now: float) -> Sighting:
    return Sighting(
        server=server,
        tool=tool.name,
        digest=seen.digest,
        definition=tool.definition,
        seen_at=now,
        reasons=seen.reasons,
    )


def _portions(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), _IN_ONE_EVENT):
        yield items[start : start + _IN_ONE_EVENT]
