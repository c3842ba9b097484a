"""The virtual machines of a thread: of each policy, one for each document that it was asked of.

regorus' objects may be used, and dropped, only by the thread that made them; an engine's own
attribute could be dropped by any thread, so these belong to the threads. A document is loaded with
the first question to it and not before: nothing that a policy's coming into force needs is done by
whoever decides, and no question waits for more than one document.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import msgspec
import regorus

from portcullis.policy.custom import Custom
from portcullis.policy.slices import Parts

MOST: Final = 3
"""Policies that a thread keeps ready: the one in force, a candidate beside it, and what comes."""

_thread: Final = threading.local()


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A policy as regorus takes it: its rules, compiled, and its data."""

    code: bytes
    parts: Parts


class IncompleteError(Exception):
    """The program is not whole."""


class Machines:
    """One policy's, by the number of the document. ``custom`` are its hand-written packages."""

    def __init__(self, program: Program, custom: Custom | None) -> None:
        self.custom = custom
        self._program, partial = regorus.Program.deserialize_binary(program.code)
        if partial:
            raise IncompleteError
        self._documents = program.parts.documents
        self._loaded: dict[int, Any] = {}

    def at(self, number: int) -> Any:
        """The machine for a document."""
        found = self._loaded.get(number)
        return self._load(number) if found is None else found

    def forget(self, number: int) -> None:
        """One that failed is not used again."""
        self._loaded.pop(number, None)

    @property
    def empty(self) -> bool:
        """Whether there is none."""
        return not self._loaded

    def shrink(self) -> bool:
        """Drop one machine; whether there was one."""
        return bool(self._loaded) and self._loaded.popitem() is not None

    def _load(self, number: int) -> Any:
        _drop()
        made = regorus.Rvm()
        made.load_program(self._program)
        made.set_data_json(self._documents[number])
        self._loaded[number] = made
        return made


class _Own:
    """A thread's: by the digests of policies, the newest last; and what is over."""

    def __init__(self) -> None:
        self.known: dict[str, Machines] = {}
        self.over: list[Machines] = []


def known(digest: str) -> Machines | None:
    """This thread's machines for a policy, if it has decided by it."""
    return _own().known.get(digest)


def kept(digest: str, made: Machines) -> Machines:
    """Have this thread keep machines."""
    own = _own()
    while len(own.known) >= MOST:
        own.over.append(own.known.pop(next(iter(own.known))))
    own.known[digest] = made
    return made


def _drop() -> None:
    """Drop one machine of those that are over: all at once would take as long as to load them."""
    over, dropped = _own().over, False
    while over and not dropped:
        dropped = over[-1].shrink()
        if over[-1].empty:
            over.pop()


def _own() -> _Own:
    try:
        own: _Own = _thread.own
    except AttributeError:
        own = _thread.own = _Own()
    return own
