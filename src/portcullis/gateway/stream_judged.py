"""A streamed answer, frame by frame, each held until all that it says is judged.

A frame goes out when its texts are settled, and never before one that came earlier. What takes the
place of a span goes into the first frame that the span touches; the others lose their part of it.
Events that came as one frame stay one until only some of them may go on, or one of them changes.
So no event is made up, and their order and numbers stay. What a tool call is made of is judged
when it is whole: the first of its frames carries what became of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from portcullis.core.call import Result, ToolProposal
from portcullis.core.check import StreamJudge
from portcullis.core.errors import Problem
from portcullis.core.inspection import Path, Text
from portcullis.core.verdict import Deny
from portcullis.gateway.stream import weight
from portcullis.gateway.stream_waiting import Gathering, Growing, Waiting
from portcullis.gateway.streamed import Streamed
from portcullis.wire.json import decode, encode
from portcullis.wire.model import Frame
from portcullis.wire.slots import Kind, Rest, Slot
from portcullis.wire.walk import is_sealed

MAX_OPEN: Final = 1024
"""Most texts that are open at once in one stream."""
_KNOWN: Final = 512
"""How many texts that stand for themselves are remembered: events repeat the same few."""
MAX_CHANGED: Final = 4096
"""Most whole texts that may change in one stream."""
_T = TypeVar("_T")


class Stopped(Problem):
    """The judge ended the stream: nothing of the rest may go out."""

    def __init__(self, deny: Deny) -> None:
        super().__init__(deny.code, deny.reason)
        self.deny = deny


class Judged:
    """The queue of one stream, in the place of ``HeldBack``.

    ``feed`` returns the bytes that may go out now. It raises Stopped when the judge says so,
    Problem PC5004 when more than ``limit`` bytes wait, PC5003 for a text that goes on after its
    end. After that nothing more may be sent. What goes out is gathered in ``streamed``, if given.
    """

    def __init__(
        self,
        judge: StreamJudge,
        limit: int,
        streamed: Streamed | None = None,
    ) -> None:
        self._judge = judge
        self._limit = limit
        self._streamed = streamed
        self._queue: deque[Waiting] = deque()
        self._free = 0
        self._size = 0
        self._open: dict[str, Growing | Gathering] = {}
        self._unread: dict[str, Growing] = {}
        self._closed: set[str] = set()
        self._known: set[tuple[Path, str]] = set()
        self._plain: tuple[Rest, ...] | None = None
        """What is beside the text of the last event, if it was only texts, and they stayed."""
        self._changed: dict[tuple[str, bool], str] = {}
        self._proposals: list[ToolProposal] = []
        self._sent = 0
        self.frames = 0

    def feed(self, frames: Iterable[Frame]) -> bytes:
        """Take frames, give back what is ready. What comes together is judged together."""
        ready: list[bytes] = []
        for frame in frames:
            self.frames += frame.events
            self._take(frame)
            if self._size > self._limit:
                self._grown(ready)
                if self._size > self._limit:
                    raise Problem("PC5004", f"more than {self._limit} bytes of a stream wait")
        self._grown(ready)
        return b"".join(ready)

    def rest(self) -> bytes:
        """What still waits when the stream has ended well: all its texts are at their ends."""
        ready: list[bytes] = []
        self._close("")
        self._free = len(self._queue)
        self._release(ready)
        if self._queue:
            raise Problem("PC9001", "the check of a stream left a text undecided")
        return b"".join(ready)

    def so_far(self) -> Result:
        """What went out before the judge ended the stream."""
        return Result(payload=None, size=self._sent, chunks=self.frames)

    def summary(self, result: Result) -> Result:
        """The decoder's result as the client got it: what was sent, and the calls in it."""
        return msgspec.structs.replace(
            result, chunks=self.frames, size=self._sent, proposals=tuple(self._proposals)
        )

    def _take(self, frame: Frame) -> None:
        slots = frame.slots
        if slots is not None and frame.texts and slots.rest is not self._plain:
            for one in frame.apart():
                self._take(one)
            return
        waiting = Waiting(frame)
        self._queue.append(waiting)
        self._size += weight(frame)
        if slots is not None:
            if self._streamed is not None:
                waiting.slots = slots
            for slot in slots.slots:
                self._slot(waiting, slot)
            if slots.rest is not self._plain:
                self._plain = slots.rest if self._stays(waiting, slots.rest) else None
            for prefix in slots.closes:
                self._close(prefix)
        self._proposals += [self._proposed(proposal) for proposal in frame.proposals]
        if not frame.held:
            self._free = len(self._queue)

    def _part(self, waiting: Waiting, count: int) -> tuple[Waiting, Waiting]:
        """Put the first so many events of a frame, and the others, into the queue in its place."""
        first, rest = map(Waiting, waiting.frame.parted(count))
        if waiting.slots is not None:
            first.slots, rest.slots = first.frame.slots, rest.frame.slots
        at = self._queue.index(waiting)
        self._queue[at] = first
        self._queue.insert(at + 1, rest)
        self._free += at < self._free
        self._size += weight(first.frame) + weight(rest.frame) - weight(waiting.frame)
        return first, rest

    def _grown(self, ready: list[bytes]) -> None:
        """Have judged what came of the texts that grow, and release what is free by then."""
        for key, text in self._unread.items():
            text.settle(_said(self._judge.text(key, text.unread(), last=False)), self._part)
        self._unread.clear()
        self._release(ready)

    def _release(self, ready: list[bytes]) -> None:
        while self._free and not self._queue[0].pieces:
            self._free -= 1
            waiting = self._queue.popleft()
            self._size -= weight(waiting.frame)
            data = waiting.data()
            if self._streamed is not None and waiting.slots is not None:
                self._streamed.event(waiting.slots, waiting.changes, waiting.names)
            self._sent += len(data)
            ready.append(data)

    def _slot(self, waiting: Waiting, slot: Slot) -> None:
        if not slot.text:
            return
        if slot.kind is Kind.WHOLE:
            new = self._whole(slot.key, slot.text, json=slot.json)
            if new != slot.text:
                waiting.changes[slot.path] = new if _is_text(waiting.frame, slot) else _value(new)
            return
        text = self._open.get(slot.key)
        if text is None:
            text = self._begin(slot)
        if isinstance(text, Gathering):
            text.add(waiting, slot)
        else:
            text.add(waiting, slot)
            self._unread[slot.key] = text

    def _begin(self, slot: Slot) -> Growing | Gathering:
        if slot.key in self._closed:
            raise Problem("PC5003", "a text goes on after its end")
        if len(self._open) >= MAX_OPEN:
            raise Problem("PC5004", f"more than {MAX_OPEN} texts of a stream are open")
        gathers = slot.kind is Kind.GATHERED
        text = Gathering(json=slot.json, sealed=slot.sealed) if gathers else Growing()
        self._open[slot.key] = text
        return text

    def _stays(self, waiting: Waiting, rests: tuple[Rest, ...]) -> bool:
        """Have judged what is beside a text; whether it is only texts that stay as they are."""
        before = len(waiting.changes)
        for rest in rests:
            self._others(waiting, rest)
        changed = waiting.names or len(waiting.changes) > before
        return not changed and not any(rest.walk.blobs or rest.walk.documents for rest in rests)

    def _others(self, waiting: Waiting, rest: Rest) -> None:
        for blob in rest.walk.blobs:
            _said(self._judge.opaque(rest.key(blob.path)))
        texts = [text for text in rest.walk.texts if (text.path, text.text) not in self._known]
        if len(texts) > 1 and not rest.error and self._clear(rest, texts):
            texts = []
        for text in texts:
            key = rest.key(text.path)
            new = self._whole(key, text.text, json=False, sealed=text.sealed, error=rest.error)
            if new == text.text:
                self._remember(text.path, text.text)
            elif text.name:
                waiting.names[text.path] = new
            else:
                waiting.changes[text.path] = new
        for text in rest.walk.documents:
            new = self._whole(rest.key(text.path), text.text, json=True)
            if new != text.text:
                waiting.changes[text.path] = new

    def _clear(self, rest: Rest, texts: Sequence[Text]) -> bool:
        """Whether nothing is in these texts, of which none repeats one that grows."""
        asked = [(rest.key(text.path), text.text, text.sealed) for text in texts]
        if any(key in self._open for key, _, _ in asked) or not _said(self._judge.clear(asked)):
            return False
        for text in texts:
            self._remember(text.path, text.text)
        return True

    def _remember(self, path: Path, text: str) -> None:
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known.add((path, text))

    def _whole(
        self, key: str, text: str, *, json: bool, sealed: bool = False, error: bool = False
    ) -> str:
        """What goes on in the place of a text. What changed may be part of a proposal."""
        if key in self._open:  # what repeats a text comes after its end
            self._close(key)
        new = _said(self._judge.whole(key, text, json=json, sealed=sealed, error=error))
        if new != text:
            if len(self._changed) >= MAX_CHANGED:
                raise Problem("PC3025", f"more than {MAX_CHANGED} texts of a stream change")
            self._changed[text, json] = new
        return new

    def _close(self, prefix: str) -> None:
        """The texts whose keys begin so are at their ends: everything of them settles."""
        for key in [key for key in self._open if key.startswith(prefix)]:
            text = self._open.pop(key)
            self._closed.add(key)
            if isinstance(text, Growing):
                self._unread.pop(key, None)
                text.settle(_said(self._judge.text(key, text.unread(), last=True)), self._part)
                continue
            whole = text.text()
            sealed = text.sealed and is_sealed(whole)
            new = self._whole(key, whole, json=text.json, sealed=sealed)
            text.settle(None if new == whole else new)

    def _proposed(self, proposal: ToolProposal) -> ToolProposal:
        """A call as the client sees it: its parts were judged, each as a whole text."""
        if not self._changed:
            return proposal
        text = proposal.arguments
        if text.startswith('"'):  # a custom tool's free input, which the proposal has as a string
            free: str = decode(text.encode())
            text = encode(self._changed.get((free, False), free)).decode()
        else:
            text = self._changed.get((text, True), text)
        name = self._changed.get((proposal.name, False), proposal.name)
        return msgspec.structs.replace(proposal, name=name, arguments=text)


def _said(answer: _T | Deny) -> _T:
    if isinstance(answer, Deny):
        raise Stopped(answer)
    return answer


def _is_text(frame: Frame, slot: Slot) -> bool:
    """Whether the event holds JSON text at a slot, or the value itself."""
    value: Any = frame.event
    for step in slot.path:
        value = value[step]
    return type(value) is str


def _value(text: str) -> Any:
    return decode(text.encode())
