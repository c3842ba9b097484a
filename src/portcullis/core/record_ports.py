"""The ports of what is kept beside a log: contents, and copies in object stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, Protocol

import msgspec

from portcullis.core.event import Event


class Contents(Protocol):
    """Where content is kept off the log, encrypted for each subject; ``results`` says also those.

    ``keep`` returns at once: what it gets is kept in time, or not when it is too much. Each field
    is one that the event commits to. It raises Problem PC6001 when the subject has no key.
    ``drop`` takes back what it got of an event that did not get on record.
    """

    @property
    def results(self) -> bool: ...
    def keep(self, event: Event, subject: str, fields: Mapping[str, bytes]) -> None: ...
    def drop(self, event_id: str) -> None: ...


class Retention(msgspec.Struct, frozen=True):
    """Until when (seconds since the epoch) a version of an object cannot be deleted.

    ``governance`` lets those with a special permission lift it, ``compliance`` nobody.
    """

    mode: Literal["governance", "compliance"]
    until: float


class StoredObject(msgspec.Struct, frozen=True):
    """What a store says of an object: bytes, seconds since the epoch, and what locks it."""

    size: int
    modified: float
    retention: Retention | None = None


class ObjectStore(Protocol):
    """Objects by path (``a/b/c``, printable ASCII). Every method blocks, and its time is bounded.

    ``put`` writes a whole object or nothing, and what it wrote is durable when it returns. Without
    ``replace`` it makes a new object and returns False, changing nothing, when one is there.
    ``get`` returns None for no object and raises for one beyond ``limit`` bytes; ``head`` returns
    None for none. ``list`` yields the paths below the folder ``prefix``, in no order. ``delete``
    says nothing of an object that is not there. A put is seen by every read that begins after it.
    Raises Problem PC6021 when the store cannot be reached or refuses, also a ``retention`` where
    it can keep none. No detail holds a credential.
    """

    def put(
        self,
        path: str,
        data: bytes,
        *,
        replace: bool = False,
        retention: Retention | None = None,
    ) -> bool: ...
    def get(self, path: str, limit: int) -> bytes | None: ...
    def head(self, path: str) -> StoredObject | None: ...
    def list(self, prefix: str) -> Iterator[str]: ...
    def delete(self, path: str) -> None: ...
