"""What the control plane gives to gateways that do not have its folder: files, through the shelf.

Its own files are what counts. Whatever the record store has in their place, after a restore or by
somebody's hand, is replaced by them, and that is on record.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog

from portcullis.audit.retention_holds import HOLDS, Holds
from portcullis.bootstrap.background import background
from portcullis.bootstrap.elsewhere import BUNDLE, kept
from portcullis.bootstrap.foundation import CA
from portcullis.bootstrap.hosts_retired import RETIRED
from portcullis.bootstrap.records import records
from portcullis.config import Config
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.core.hosts import Shelf
from portcullis.gateway.records import changed
from portcullis.identity.authority_files import STATE, Files, parse_state
from portcullis.identity.keys import ISSUER, KILL
from portcullis.identity.orders import ORDER_FILE
from portcullis.identity.private import read_private
from portcullis.store.hosts import SqlShelf

KEYS: Final = "keys"
ORDER: Final = "order"
HELD: Final = "holds"
RETIREES: Final = "retired"
NAMES: Final = (KEYS, CA, ORDER, HELD, RETIREES)
"""The bundles, each of which a gateway needs before it starts."""
_LOOK_SECONDS: Final = 0.2
_CHECK_LOOKS: Final = 10
"""Every so many looks what lies on the shelf is held against what was put there."""

log = structlog.get_logger(__name__)


class Published:
    """Puts on the shelf what changed in the folder ``state``.

    ``told`` is told the name of a bundle that is there and was not put there. ``asked`` gives the
    erasures that other hosts were asked for; of none, there is no bundle.
    """

    def __init__(
        self,
        state: Path,
        shelf: Shelf,
        book: Holds,
        told: Callable[[str], None],
        asked: Callable[[], Mapping[str, bytes]],
    ) -> None:
        self._shelf = shelf
        self._told = told
        self._files = Files(state / CA)
        self._authority: tuple[bytes | None, Mapping[str, bytes]] = (None, {})
        self._sources: Mapping[str, Callable[[], Mapping[str, bytes]]] = {
            KEYS: lambda: _read(state / "keys", ISSUER, KILL),
            CA: self._of_authority,
            ORDER: lambda: _read(state, ORDER_FILE),
            RETIREES: lambda: _read(state, RETIRED),
            HELD: lambda: {HOLDS: msgspec.json.encode(book.in_force())},
            BUNDLE: asked,
        }
        self._put: dict[str, tuple[int, Mapping[str, bytes]]] = {BUNDLE: (0, {})}

    def step(self, *, check: bool) -> None:
        """Put what changed; with ``check`` see that what was put is still there. Blocks.

        Raises Problem PC9002, and what reading the files raises.
        """
        there = self._shelf.versions() if check else {}
        for name, source in self._sources.items():
            files = source()
            version, last = self._put.get(name, (0, None))
            changed = check and version and self._changed(name, version, there.get(name, 0))
            if changed:
                self._told(name)
            if files != last or changed:
                self._put[name] = self._shelf.put(name, files, version), files

    def _changed(self, name: str, version: int, there: int) -> bool:
        try:
            found = self._shelf.get(name)
        except Problem as problem:
            if problem.code != "PC7082":
                raise
            return True
        return found is None or there != version or found.version != version

    def _of_authority(self) -> Mapping[str, bytes]:
        """All that the authority's state names, as it is at one moment."""
        raw = self._files.raw_state()
        if raw is not None and raw != self._authority[0]:
            with self._files.exclusive():
                raw = self._files.raw_state() or raw
                names = [f"{key.name}.pem" for key in parse_state(raw).keys]
                names += [f"{key.name}.key" for key in parse_state(raw).keys]
                found = {name: self._files.get(name) for name in names if self._files.has(name)}
            self._authority = raw, {**found, STATE: raw}
        return self._authority[1]


@contextlib.asynccontextmanager
async def publishing_files(config: Config, services: Services) -> AsyncIterator[None]:
    """Publish beside the block, where hosts have a record store in common; at once at first."""
    parts = services.privacy_parts
    if config.store.url is None or parts is None:
        yield
        return

    def told(name: str) -> None:
        log.error("shared_files_changed", bundle=name, code="PC7082")
        event = changed(services.gateway, services.clock, "hosts.changed", {"bundle": name})
        services.recorder.enqueue(msgspec.structs.replace(event, verdict="error", code="PC7082"))

    engine = await asyncio.to_thread(records, config)
    try:
        shelf = SqlShelf(engine, services.sealer)
        asked = functools.partial(kept, config.state, services.sealer)
        published = Published(config.state, shelf, parts.book, told, asked)
        async with background(_keep_up(published)):
            yield
    finally:
        engine.dispose()


async def _keep_up(published: Published) -> None:
    """For ever; a fault is logged once and tried again."""
    said, looks = "", 0
    while True:
        try:
            await asyncio.to_thread(published.step, check=looks % _CHECK_LOOKS == 0)
            said = ""
        except Problem as problem:
            if problem.code != said:
                said = problem.code
                log.warning("shared_files_not_published", code=problem.code, detail=problem.detail)
        looks += 1
        await asyncio.sleep(_LOOK_SECONDS)


def _read(folder: Path, *names: str) -> Mapping[str, bytes]:
    """Those of these files that there are."""
    found = {name: read_private(folder / name) for name in names}
    return {name: content for name, content in found.items() if content is not None}
