"""The frames of a stream that wait, and the texts that they are pieces of."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from itertools import accumulate
from typing import Any, TypeAlias

from portcullis.core.check import Progress
from portcullis.core.inspection import Edit, Path
from portcullis.wire.model import Frame
from portcullis.wire.slots import Slot, Slots


class Waiting:
    """A frame in the queue: how many of its pieces are not settled, and what changes in it."""

    __slots__ = ("changes", "frame", "names", "pieces", "slots")

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.pieces = 0
        self.slots: Slots | None = None
        self.changes: dict[Path, Any] = {}
        self.names: dict[Path, str] = {}

    def data(self) -> bytes:
        """The frame's bytes, with what changed: that is in a frame of one event."""
        if not self.changes and not self.names:
            return self.frame.data
        return self.frame.changed(self.changes, self.names)


_Piece: TypeAlias = tuple[Waiting, Path, int, str]
"""A frame, where in its event the text is, where in the whole text that begins, and the text."""
Part: TypeAlias = Callable[[Waiting, int], tuple[Waiting, Waiting]]
"""Parts a frame after so many events, in the queue that it waits in."""


class Growing:
    """A text that is shown as it comes: the pieces that are not settled, and edits within them."""

    __slots__ = ("_edits", "_pieces", "_unread", "length")

    def __init__(self) -> None:
        self.length = 0
        self._unread: list[str] = []
        self._pieces: deque[_Piece] = deque()
        self._edits: deque[Edit] = deque()

    def add(self, frame: Waiting, slot: Slot) -> None:
        """Take the next piece."""
        self._pieces.append((frame, slot.path, self.length, slot.text))
        self._unread.append(slot.text)
        self.length += len(slot.text)
        frame.pieces += 1

    def unread(self) -> str:
        """What came since this was last asked."""
        text = "".join(self._unread)
        self._unread.clear()
        return text

    def settle(self, progress: Progress, part: Part) -> None:
        """Carry out what was decided, and free the pieces that it covers.

        A frame of several events is parted where only some of them may go on, or one changes.
        """
        self._edits += progress.edits
        while self._pieces:
            frame, path, start, text = self._pieces[0]
            end, stays = start + len(text), progress.settled
            if self._edits:
                stays = min(stays, self._edits[0].start)
            if stays < end and start < progress.settled and frame.frame.events > 1:
                self._pieces.popleft()
                ends = list(accumulate(map(len, frame.frame.texts), initial=start))
                whole = max(bisect_right(ends, stays) - 1, 1)
                first, rest = part(frame, whole)
                self._put(rest, path, ends[whole])
                self._put(first, path, start)
                continue
            if end > progress.settled:
                return
            self._pieces.popleft()
            frame.pieces -= 1
            new = self._edited(start, text)
            if new != text:
                frame.changes[path] = new

    def _put(self, frame: Waiting, path: Path, start: int) -> None:
        """Put a piece before the others, unless it is empty."""
        text = "".join(frame.frame.texts)
        if text:
            frame.pieces += 1
            self._pieces.appendleft((frame, path, start, text))

    def _edited(self, start: int, text: str) -> str:
        parts: list[str] = []
        at, end = start, start + len(text)
        while self._edits and self._edits[0].start < end:
            edit = self._edits[0]
            if edit.start >= start:
                parts += [text[at - start : edit.start - start], edit.text]
            at = min(edit.end, end)
            if edit.end > end:
                break
            self._edits.popleft()
        return "".join((*parts, text[at - start :]))


class Gathering:
    """A text that is judged when it is whole."""

    __slots__ = ("_pieces", "json", "sealed")

    def __init__(self, *, json: bool, sealed: bool) -> None:
        self.json = json
        self.sealed = sealed
        self._pieces: list[tuple[Waiting, Slot]] = []

    def add(self, frame: Waiting, slot: Slot) -> None:
        """Take the next piece."""
        self._pieces.append((frame, slot))
        frame.pieces += 1

    def text(self) -> str:
        """All of it."""
        return "".join(slot.text for _, slot in self._pieces)

    def settle(self, new: str | None) -> None:
        """Free the pieces; the first carries ``new``, unless that is None: then all stay."""
        for frame, slot in self._pieces:
            frame.pieces -= 1
            if new is not None:
                frame.changes[slot.path] = new
                new = ""
