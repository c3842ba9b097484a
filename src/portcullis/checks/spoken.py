"""What users said, prepared once for each turn and kept as long as there is room."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from portcullis.core.principal import Session
from portcullis.provenance.words import Words

ROOM: Final = 1 << 23
"""Characters of prompts that are kept prepared, at some 16 bytes each."""
_EACH: Final = 512
"""What a session counts for beside its characters."""
_LONG: Final = 1 << 14
"""Characters from which on they are prepared beside the event loop."""


class Spoken:
    """The words of sessions; those used longest ago go first. Use it from one event loop."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._kept: OrderedDict[tuple[str, int], tuple[Words, int]] = OrderedDict()

    async def words(self, session: Session) -> Words:
        """What the session's user has said so far, and what the application says it is about."""
        key = session.id, len(session.turns)
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            return found[0]
        texts = (*session.prompts, *_vouched(session))
        size = sum(map(len, texts))
        long = size > _LONG
        words = await asyncio.to_thread(Words.of, texts) if long else Words.of(texts)
        self._forget(key)  # somebody else may have prepared them meanwhile
        self._forget((session.id, len(session.turns) - 1))
        self._kept[key] = words, size + _EACH
        self._room -= size + _EACH
        while self._room < 0:
            self._forget(next(iter(self._kept)))
        return words

    def end(self, is_open: Callable[[str], bool]) -> None:
        """Forget the words of sessions that are no longer open."""
        for key in [key for key in self._kept if not is_open(key[0])]:
            self._forget(key)

    def _forget(self, key: tuple[str, int]) -> None:
        gone = self._kept.pop(key, None)
        if gone is not None:
            self._room += gone[1]


def _vouched(session: Session) -> Iterator[str]:
    """What the application says the session is about is as good as the user's words."""
    for value in session.subject.values():
        if isinstance(value, str | int) and not isinstance(value, bool):
            yield str(value)
