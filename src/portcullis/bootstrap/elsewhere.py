"""Erasures for hosts that keep keys of their own: what is asked for at the control plane.

It is kept there, sealed, until each gateway has said that it made it, and lies on the shelf, where
``hosts_published`` puts it back when somebody took it away. A gateway that does not run makes it
when it starts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import Engine

from portcullis.bootstrap.hosts_retired import retired_of
from portcullis.config import Config
from portcullis.core.errors import Problem
from portcullis.core.hosts import Presence, Presences, Shelf
from portcullis.core.ports import Sealer
from portcullis.identity.keymanager import KEYS
from portcullis.identity.private import read_private, write_private
from portcullis.store.hosts import SqlPresences, SqlShelf

BUNDLE: Final = "erasures"
KEPT: Final = f"{KEYS}/erasures.sealed"
"""Below the state directory of the control plane."""
_FILE: Final = "erasures.json"
_MOST: Final = 16 * 2**20


class Erasure(msgspec.Struct, frozen=True):
    """One of them: ``name`` is the subject's, as ``subject_name`` has it."""

    number: int
    name: str


class ErasedElsewhere:
    """Implements ``control.privacy.ErasesElsewhere``; one process at a time has it.

    What it keeps is below ``state``, and reaches the shelf while the control plane runs.
    """

    def __init__(self, state: Path, sealer: Sealer, shelf: Shelf, presences: Presences) -> None:
        self._state = state
        self._sealer = sealer
        self._shelf = shelf
        self._presences = presences

    def others(self) -> tuple[str, ...]:
        """See ErasesElsewhere."""
        return tuple(one.name for one in self._asked())

    def erase(self, name: str) -> None:
        """See ErasesElsewhere. What all have made is forgotten.

        The time is in the number: a database that was put back knows less than the hosts have made.
        """
        files = kept(self._state, self._sealer)
        asked = _said(files) if files else asked_for(self._shelf)
        made = [one.erased for one in self._asked()]
        number = max([time.time_ns() // 1000, *made, *(one.number for one in asked)]) + 1
        waiting = [one for one in asked if one.number > min(made, default=0)]
        content = msgspec.json.encode([*waiting, Erasure(number, name)])
        write_private(self._state / KEPT, self._sealer.seal(content, BUNDLE))

    def _asked(self) -> list[Presence]:
        """Those that have to make it: one that is retired never does."""
        gone = retired_of(self._state)
        return [one for one in self._presences.all() if one.apart and one.name not in gone]


def kept(state: Path, sealer: Sealer) -> Mapping[str, bytes]:
    """The bundle as the control plane has it; empty where it never asked for an erasure.

    Raises Problem PC7001 and PC7010.
    """
    sealed = read_private(state / KEPT, _MOST)
    return {} if sealed is None else {_FILE: sealer.open(sealed, BUNDLE)}


def reseal(state: Path, sealer: Sealer) -> None:
    """Bring it under the newest version of the key manager. Raises as ``kept`` does."""
    for content in kept(state, sealer).values():
        write_private(state / KEPT, sealer.seal(content, BUNDLE))


def asked_for(shelf: Shelf) -> tuple[Erasure, ...]:
    """What was asked for and not made by all. Raises Problem PC7082 and PC9002."""
    found = shelf.get(BUNDLE)
    return () if found is None else _said(found.files)


def _said(files: Mapping[str, bytes]) -> tuple[Erasure, ...]:
    try:
        return msgspec.json.decode(files[_FILE], type=tuple[Erasure, ...]) if files else ()
    except (KeyError, msgspec.MsgspecError):
        raise Problem("PC7082", "the erasures are not what we write") from None


def erases_elsewhere(config: Config, engine: Engine, sealer: Sealer) -> ErasedElsewhere | None:
    """What asks for erasures on other hosts; None where records are in a file of this one."""
    if config.store.url is None:
        return None
    return ErasedElsewhere(
        config.state, sealer, SqlShelf(engine, sealer), SqlPresences(engine, sealer)
    )
