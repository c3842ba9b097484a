"""Files of the control plane in the folder of a host that does not have it.

Each bundle is taken over whole: what it names is written first, and the file by which others see
the change last. A version that was seen is never gone back on, not after a restart either. What
does not open, or is older or gone, is refused and said; while that lasts, or nothing can be read,
nobody is trusted by what was taken over (``doubted``).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog

from portcullis.audit.retention_holds import HOLDS
from portcullis.bootstrap.announcing import ended
from portcullis.bootstrap.background import background
from portcullis.bootstrap.foundation import CA
from portcullis.bootstrap.hosts_published import HELD, KEYS, NAMES, ORDER, RETIREES
from portcullis.bootstrap.hosts_retired import RETIRED, expect_serving, retired_of
from portcullis.bootstrap.keys import SystemClock, keys_of
from portcullis.bootstrap.records import records
from portcullis.config import Config
from portcullis.core.errors import Problem
from portcullis.core.hosts import Shelf
from portcullis.core.ports import Clock, Sealer
from portcullis.identity.authority_files import PREFIXES, STATE
from portcullis.identity.keys import ISSUER, KILL
from portcullis.identity.orders import ORDER_FILE
from portcullis.identity.private import exclusive, read_private, write_private
from portcullis.identity.sealing import Envelope
from portcullis.store.hosts import SqlShelf

SEEN: Final = "followed.json"
"""Below the state directory: which version of each bundle was taken over last."""
_DOUBT_SECONDS: Final = 1.5
_LOOK_SECONDS: Final = 0.25
_AGAIN_LOOKS: Final = 240
"""After so many looks, a minute, one that waits says so again."""
_OURS: Final = {
    KEYS: (ISSUER, KILL),
    CA: (*PREFIXES, STATE),
    ORDER: (ORDER_FILE,),
    HELD: (HOLDS,),
    RETIREES: (RETIRED,),
}
"""How the names of a bundle's files begin; no other file is touched."""

log = structlog.get_logger(__name__)


class Followed:
    """Takes over what is on the shelf into the folder ``state``.

    ``restart`` is called when keys were replaced by which this process has made others already.
    """

    def __init__(
        self, state: Path, shelf: Shelf, clock: Clock, restart: Callable[[], None]
    ) -> None:
        self._state = state
        self._shelf = shelf
        self._clock = clock
        self._restart = restart
        self._folders = {name: _folder(state, name) for name in NAMES}
        self._good: float | None = None
        self._seen = self._remembered()

    def step(self) -> bool:
        """Take over what changed; whether all is there now. Blocks.

        Raises Problem PC7082 for what is refused, after all else was taken over, PC9002 when the
        shelf cannot be read, and PC7001 when the folder cannot be written.
        """
        there, refused = self._shelf.versions(), None
        for name in NAMES:
            try:
                self._take(name, there.get(name))
            except Problem as problem:
                refused = problem
        if refused is not None:
            raise refused
        whole = all(name in self._seen for name in NAMES)
        if whole:
            self._good = self._clock.monotonic()
        return whole

    def doubted(self) -> bool:
        """Whether for some time nobody could say that what was taken over is what counts."""
        good = self._good
        return good is None or self._clock.monotonic() - good > _DOUBT_SECONDS

    def _take(self, name: str, version: int | None) -> None:
        seen = self._seen.get(name, 0)
        if version == seen or (version is None and not seen):
            return
        if version is None or version < seen:
            detail = f"{name}: an older version than was seen, or none"
            raise Problem("PC7082", detail)
        found = self._shelf.get(name)
        if found is None or found.version < version:
            raise Problem("PC7082", f"{name}: an older version than was said")
        replaced = _written(self._folders[name], found.files, _OURS[name])
        self._seen = {**self._seen, name: found.version}
        write_private(self._state / SEEN, msgspec.json.encode(self._seen))
        if name == KEYS and replaced and self._good is not None:
            log.critical("keys_replaced", do="this process ends, and has to be started again")
            self._restart()

    def _remembered(self) -> Mapping[str, int]:
        raw = read_private(self._state / SEEN)
        try:
            return {} if raw is None else msgspec.json.decode(raw, type=dict[str, int])
        except msgspec.DecodeError:
            raise Problem("PC7001", f"{self._state / SEEN} is not what we write") from None


def _folder(state: Path, name: str) -> Path:
    """Where the files of a bundle lie."""
    return {KEYS: state / "keys", CA: state / CA}.get(name, state)


def _written(folder: Path, files: Mapping[str, bytes], ours: tuple[str, ...]) -> bool:
    """Write a bundle, and remove what it has no more; whether any file was another one before."""
    if not all(name == Path(name).name and name.startswith(ours) for name in files):
        raise Problem("PC7082", "a file that is not of its bundle")
    replaced = False
    with exclusive(folder):
        for name in sorted(files, key=lambda name: name == STATE):
            before = read_private(folder / name)
            if before != files[name]:
                write_private(folder / name, files[name])
                replaced |= before is not None
        for path in folder.iterdir():
            if path.name.startswith(ours) and path.name not in files and path.is_file():
                path.unlink()
    return replaced


@contextlib.asynccontextmanager
async def following_files(
    config: Config, name: str, told: Callable[[str], None]
) -> AsyncIterator[tuple[Sealer, Followed]]:
    """Wait until all is there that a gateway needs, and follow it beside the block.

    Gives what opens sealed values, with the deployment's keys, which are never made here. ``told``
    is told what it waits for. Raises Problem PC7005 or PC7010 without those keys, PC7082 for what
    is refused, PC7098 where the gateway ``name`` is retired: then nothing of the control plane's
    keys and authority is left here after the block.
    """
    state = config.state
    for folder in (state, state / "keys"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sealer = Envelope(keys_of(config, create=False))
    engine = await asyncio.to_thread(records, config)
    try:
        followed = Followed(state, SqlShelf(engine, sealer), SystemClock(), ended)
        for look in itertools.count():
            if await asyncio.to_thread(followed.step):
                break
            if look % _AGAIN_LOOKS == 0:
                told("waits for the control plane: it has published nothing yet")
            await asyncio.sleep(_LOOK_SECONDS)
        expect_serving(state, name)
        async with background(_follow(followed)):
            yield sealer, followed
    finally:
        engine.dispose()
        if name in retired_of(state):
            _bare(state)


def _bare(state: Path) -> None:
    """Take the keys that were taken over out of the folder again."""
    for bundle in (KEYS, CA):
        folder = _folder(state, bundle)
        for place in folder.iterdir() if folder.is_dir() else ():
            if place.name.startswith(_OURS[bundle]) and place.is_file():
                place.unlink()


async def _follow(followed: Followed) -> None:
    """For ever; what is refused is said once, and when it is good again."""
    said = ""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        try:
            await asyncio.to_thread(followed.step)
        except Problem as problem:
            if problem.detail != said:
                said = problem.detail
                about = {"code": problem.code, "detail": said}
                log.log(logging.ERROR, "shared_files_refused", **about)
        else:
            if said:
                log.info("shared_files_followed")
            said = ""
