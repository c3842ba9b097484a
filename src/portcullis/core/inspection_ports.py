"""The ports of inspection: placeholders, documents, approved tools. See ``core.ports``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import msgspec


class Vault(Protocol):
    """The placeholders of one session: values that a model does not see. In memory, bounded.

    ``hide`` returns the placeholder of a value, ``<ENTITY_N>``, the same for the same value, or
    raises Problem PC3025 when it can hold no more. ``reveal`` returns the value, or None for a
    placeholder that was not made here.
    """

    def hide(self, entity: str, value: str) -> str: ...
    def reveal(self, placeholder: str) -> str | None: ...


class Vaults(Protocol):
    """The vaults by session id or, outside a session, by call. One is gone when unused for long.

    ``vault`` never returns another key's vault. ``since`` is when the key was made (seconds since
    the epoch): no vault of a key gives a number that an earlier one of the same key has given.
    ``refresh`` comes before: it has ``vault`` know what was hidden elsewhere until then, and awaits
    what takes long. Both raise Problem PC7050 when a vault cannot be read.
    """

    async def refresh(self, key: str, since: float = math.inf) -> None: ...
    def vault(self, key: str, since: float = math.inf) -> Vault: ...


class Extracted(msgspec.Struct, frozen=True, kw_only=True):
    """What could be read of a document: ``text`` None when it is opaque.

    ``reason`` says why it is, or what besides the text could not be read; empty when all was.
    """

    text: str | None
    reason: str = ""


class Extractor(Protocol):
    """Takes the text out of documents (PDF, Office, HTML), in a process with limits.

    ``extract`` never raises for a bad document: it is opaque then. It judges by the content,
    not by the media type, which is the sender's claim. Answers are remembered by digest.
    """

    async def extract(self, data: bytes, media_type: str) -> Extracted: ...


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as it was approved: ``digest`` (SHA-256 hex) covers its whole definition.

    ``definition`` is that definition, canonical JSON; ``approved_by`` is empty for a tool that
    was pinned when it was first seen.
    """

    server: str
    tool: str
    digest: str
    definition: str
    pinned_at: float
    approved_by: str = ""


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says of a tool in place of what is pinned; see ``Pin``.

    ``reasons`` is why its texts look like instructions to a model; empty when they do not.
    """

    server: str
    tool: str
    digest: str
    definition: str
    seen_at: float
    reasons: tuple[str, ...] = ()


class Pins(Protocol):
    """The approved tools, and what servers say in their place. Durable. Every method blocks.

    ``version`` grows with every change, also with those of other processes. ``add`` pins the
    tools that have no pin yet, and no other. ``put`` replaces a pin and takes away the sighting
    of the same digest. ``saw`` replaces the tools' sightings, ``settled`` takes them away.
    """

    def version(self) -> int: ...
    def all(self) -> tuple[Pin, ...]: ...
    def sightings(self) -> tuple[Sighting, ...]: ...
    def add(self, pins: Sequence[Pin]) -> None: ...
    def put(self, pin: Pin) -> None: ...
    def saw(self, sightings: Sequence[Sighting]) -> None: ...
    def settled(self, server: str, tools: Sequence[str]) -> None: ...
