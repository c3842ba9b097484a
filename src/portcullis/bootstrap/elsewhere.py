"""Erasures for hosts that keep keys of their own: what is asked for at the control plane.

It stays on the shelf, sealed, until each gateway has said that it made it. A gateway that does not
run makes it when it starts.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec
from sqlalchemy import Engine

from portcullis.config import Config
from portcullis.core.errors import Problem
from portcullis.core.hosts import Presences, Shelf
from portcullis.core.ports import Sealer
from portcullis.store.hosts import SqlPresences, SqlShelf

BUNDLE: Final = "erasures"
_FILE: Final = "erasures.json"


class Erasure(msgspec.Struct, frozen=True):
    """One of them: ``name`` is the subject's, as ``subject_name`` has it."""

    number: int
    name: str


class ErasedElsewhere:
    """Implements ``control.privacy.ErasesElsewhere``; one process at a time has it."""

    def __init__(self, shelf: Shelf, presences: Presences) -> None:
        self._shelf = shelf
        self._presences = presences

    def others(self) -> tuple[str, ...]:
        """See ErasesElsewhere."""
        return tuple(one.name for one in self._presences.all() if one.apart)

    def erase(self, name: str) -> None:
        """See ErasesElsewhere. What all have made is forgotten.

        The time is in the number: a database that was put back knows less than the hosts have made.
        """
        asked = asked_for(self._shelf)
        made = [one.erased for one in self._presences.all() if one.apart]
        number = max([time.time_ns() // 1000, *made, *(one.number for one in asked)]) + 1
        waiting = [one for one in asked if one.number > min(made, default=0)]
        content = msgspec.json.encode([*waiting, Erasure(number, name)])
        self._shelf.put(BUNDLE, {_FILE: content}, 0)


def asked_for(shelf: Shelf) -> tuple[Erasure, ...]:
    """What was asked for and not made by all. Raises Problem PC7082 and PC9002."""
    found = shelf.get(BUNDLE)
    if found is None:
        return ()
    try:
        return msgspec.json.decode(found.files[_FILE], type=tuple[Erasure, ...])
    except (KeyError, msgspec.MsgspecError):
        raise Problem("PC7082", "the erasures are not what we write") from None


def erases_elsewhere(config: Config, engine: Engine, sealer: Sealer) -> ErasedElsewhere | None:
    """What asks for erasures on other hosts; None where records are in a file of this one."""
    if config.store.url is None:
        return None
    return ErasedElsewhere(SqlShelf(engine, sealer), SqlPresences(engine, sealer))
