"""What a stream said, gathered as it was let through, for where content is kept.

Nothing waits for it and nothing is changed by it. It takes memory while the stream runs: each
stream has a bound, and all of them share one. Past either all of it is let go, and what is kept
is a note that it was left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

from portcullis.core.call import ToolProposal
from portcullis.core.inspection import Path, Text
from portcullis.wire.json import encode
from portcullis.wire.slots import Kind, Slots

MAX_STREAM: Final = 256 * 2**10
"""Most bytes of one stream that are kept."""
MAX_TOGETHER: Final = 32 * 2**20
"""Most bytes of all streams that run."""
_EACH: Final = 256
"""Bytes that a text takes beside its own, roughly."""
LEFT_OUT: Final = ".left_out"
"""Follows the name of a field that is not kept: its own value says why."""


class Room:
    """The bytes that all streams share. For one event loop."""

    def __init__(self, most: int = MAX_TOGETHER) -> None:
        self.free = most


class Streamed:
    """One stream. Use it in a ``with``: at the end its memory is free again.

    ``spoil`` is told that something stands in it that may not be kept, or may for all that is
    known: then nothing of it is, and no note either.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._taken = 0
        self._left_out = ""
        self._spoilt = False
        self._texts: dict[str, bytearray] = {}
        self._others: dict[tuple[str, str], None] = {}
        self._messages: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._let_go()

    def spoil(self) -> None:
        """Keep nothing."""
        self._spoilt = True
        self._let_go()

    def event(self, slots: Slots, changes: Mapping[Path, Any], names: Mapping[Path, str]) -> None:
        """Take an event of a model's that goes on with ``changes``; renamed members spoil it."""
        if names:
            self.spoil()
        if self._spoilt or self._left_out:
            return
        for slot in slots.slots:
            if slot.sealed or not slot.text:
                continue  # a signature or ciphertext says nothing
            text = _text(changes.get(slot.path, slot.text))
            if slot.kind is not Kind.WHOLE or slot.key not in self._texts:
                self._append(slot.key, text)
            else:
                self._other(slot.key, text)  # what it repeats, unless it says something else
        for rest in slots.rest:
            for other in (*rest.walk.texts, *rest.walk.documents):
                if _says(other):
                    key = rest.key(other.path)
                    self._other(key, _text(changes.get(other.path, other.text)))

    def message(self, message: Mapping[str, Any]) -> None:
        """Take a message of a tool server's, as it goes on before the answer."""
        if not (self._spoilt or self._left_out):
            data = encode(message)
            if self._fits(len(data) + _EACH):
                self._messages.append(data)

    def answer(self, calls: tuple[ToolProposal, ...]) -> dict[str, bytes]:
        """A model's answer, in a field for the content store; ``calls`` are those in it.

        ``texts`` has what grew, by its place in the whole answer, ``calls`` the tool calls, and
        ``others``, a list for each place, the texts that stand for themselves.
        """
        arguments = {call.arguments for call in calls}
        texts = {key: text.decode() for key, text in self._texts.items()}
        texts = {key: text for key, text in texts.items() if text not in arguments}
        others: dict[str, list[str]] = {}
        for key, text in self._others:
            others.setdefault(key, []).append(text)
        named = [{"name": call.name, "arguments": call.arguments} for call in calls]
        said = {"texts": texts, "calls": named, "others": others}
        return self._field("result", encode({name: part for name, part in said.items() if part}))

    def messages(self) -> dict[str, bytes]:
        """What a tool server said before its answer, in a field for the content store."""
        if not (self._messages or self._left_out):
            return {}
        return self._field("messages", b"[" + b",".join(self._messages) + b"]")

    def _field(self, name: str, value: bytes) -> dict[str, bytes]:
        if self._spoilt:
            return {}
        if not self._left_out:
            return {name: value}
        return {f"{name}{LEFT_OUT}": encode(self._left_out)}

    def _append(self, key: str, text: str) -> None:
        data, known = text.encode(), self._texts.get(key)
        if not self._fits(len(data) + (0 if known is not None else len(key) + _EACH)):
            return
        if known is None:
            self._texts[key] = bytearray(data)
        else:
            known += data

    def _other(self, key: str, text: str) -> None:
        """Take a text once, unless it repeats what grew at its place."""
        one = (key, text)
        if not text or one in self._others:
            return
        data = text.encode()
        if self._texts.get(key, b"") != data and self._fits(len(key) + len(data) + _EACH):
            self._others[one] = None

    def _fits(self, size: int) -> bool:
        if self._left_out:
            return False
        if self._taken + size > MAX_STREAM:
            self._let_go(f"longer than {MAX_STREAM} bytes")
        elif size > self._room.free:
            self._let_go("too much was streamed at once")
        else:
            self._taken += size
            self._room.free -= size
            return True
        return False

    def _let_go(self, why: str = "") -> None:
        self._left_out = self._left_out or why
        self._room.free += self._taken
        self._taken = 0
        self._texts, self._others, self._messages = {}, {}, []


def _text(value: Any) -> str:
    return value if type(value) is str else encode(value).decode()


def _says(text: Text) -> bool:
    """Whether this is said to the client: no member's name, and no provider's own bytes."""
    return bool(text.text) and not (text.name or text.sealed)
