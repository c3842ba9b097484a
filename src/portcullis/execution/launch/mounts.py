"""What of ours an agent may be shown: folders of its own, and nothing that would let it out."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.sandbox import Mount

_SYSTEM: Final = tuple(map(Path, ("/proc", "/sys", "/dev", "/run", "/var/run", "/etc", "/boot")))
"""Of these nothing is shown, and nothing that holds one of them."""
_PEOPLE: Final = 1000
"""The first user that is a person (useradd(8), UID_MIN)."""


class Guarded(msgspec.Struct, frozen=True, kw_only=True):
    """What belongs to the gate on this machine.

    ``secret`` is never seen by an agent: the state directory, files of secrets. ``rules`` is what
    it may read and never change: the configuration, the policy.
    """

    secret: tuple[Path, ...] = ()
    rules: tuple[Path, ...] = ()


def checked(mounts: Iterable[Mount], guarded: Guarded) -> tuple[tuple[Mount, ...], tuple[str, ...]]:
    """The mounts with their places resolved, and the folders in the box that are to be covered.

    Raises Problem PC5045 for a place that would be a way out, or a way to the gate's own.
    """
    found: dict[str, Mount] = {}
    covered: dict[str, None] = {}
    for one in mounts:
        place = one.source.resolve()
        _allowed(place)
        hidden = {hole for mine in guarded.secret for hole in _hidden(place, mine.resolve(), one)}
        for rule in map(Path.resolve, guarded.rules):
            if one.writable and (rule.is_relative_to(place) or place.is_relative_to(rule)):
                detail = f"an agent that may write {one.source} could write {rule.name}"
                raise Problem("PC5045", detail)
        _no_sockets(place, hidden)
        covered |= {str(Path(one.target) / hole.relative_to(place)): None for hole in hidden}
        known = found.get(one.target)
        if known is None or one.writable:
            found[one.target] = msgspec.structs.replace(one, source=place)
    return tuple(found.values()), tuple(sorted(covered))


def _hidden(place: Path, mine: Path, one: Mount) -> Iterator[Path]:
    """The folder to cover for a secret of the gate's, if it lies in a mounted place.

    For a file that is the folder around it: a cover over the file alone is gone when the file is
    replaced, as on rotation (a mount ends with the name that it is on).
    """
    if place.is_relative_to(mine):
        raise Problem("PC5045", f"{one.source} is the gate's own")
    if not mine.is_relative_to(place) or not mine.exists():
        return
    hole = mine if mine.is_dir() else mine.parent
    if one.writable or hole == place:
        detail = f"{one.source} holds {mine.name}, which is the gate's own: move one of them"
        raise Problem("PC5045", detail)
    yield hole


def _allowed(place: Path) -> None:
    if not place.exists():
        raise Problem("PC5045", f"{place} is not there")
    for system in _SYSTEM:
        if place.is_relative_to(system) or system.is_relative_to(place):
            raise Problem("PC5045", f"{place} is the system's")
    if any(home.is_relative_to(place) for home in _homes()):
        raise Problem("PC5045", f"{place} holds a home directory, and with it keys and tokens")


def _homes() -> Iterator[Path]:
    """Of whoever runs this, and of all people here: with sudo those are two."""
    with suppress(RuntimeError):
        yield Path.home().resolve()
    for user in pwd.getpwall():
        if user.pw_uid == 0 or user.pw_uid >= _PEOPLE:
            home = Path(user.pw_dir)
            if home.is_dir() and home != Path("/"):
                yield home.resolve()


def _no_sockets(place: Path, covered: Container[Path]) -> None:
    """Nobody in a box can be kept from connecting to a socket that is shown to it."""
    for path in _files(place, covered):
        try:
            mode = path.lstat().st_mode
        except OSError:
            continue  # it is gone
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            raise Problem("PC5045", f"{path} is a socket, a pipe or a device: a way out")


def _files(place: Path, covered: Container[Path]) -> Iterator[Path]:
    if not place.is_dir():
        yield place
    for folder, below, files in os.walk(place):
        below[:] = [name for name in below if Path(folder, name) not in covered]
        yield from (Path(folder, name) for name in files)
