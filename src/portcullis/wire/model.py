"""What a codec of a model API offers: one shape per operation, one decoder per stream.

Requests are allow-listed field by field: what the gate does not know is refused (PC1021), what
acts or carries content at the provider's is reported as a feature for policy to decide. Results
fail closed on unknown content, items and stream events (PC5003, PC5010); unknown metadata of a
known object passes as it came.

Stored answers (``store``) are not a feature: nothing comes back from the store except through
references and operations that are features or refused themselves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Protocol

import msgspec

from portcullis.core.call import Result, ToolProposal, Usage
from portcullis.core.errors import Problem
from portcullis.core.inspection import Path
from portcullis.wire.alike import Alike, alike
from portcullis.wire.json import decode, encode
from portcullis.wire.replace import replaced
from portcullis.wire.slots import Slots
from portcullis.wire.sse import MAX_EVENT, ServerSentEvent, SSEParser
from portcullis.wire.sse import encode as event_bytes

DONE: Final = "[DONE]"
"""The data of the event that ends OpenAI's untyped streams."""
_PATIENCE: Final = 4
"""After so many events in a row that none was like, a stream's events are taken one by one."""


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request, understood.

    ``payload`` is what will be forwarded: what was parsed, except that a chat stream is told to
    report its usage; then ``strip_usage`` says that the caller did not ask for it. ``features``
    are the provider-side tools and references, qualified (``openai.web_search``), each once;
    ``tools`` are the names of the functions that the caller itself offers. ``sent`` is what went
    out where the line changed the payload: an answer that repeats it is given the caller's own.
    """

    model: str
    stream: bool
    payload: dict[str, Any]
    features: tuple[str, ...]
    tools: tuple[str, ...]
    strip_usage: bool = False
    sent: dict[str, Any] | None = None


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a stream, encoded again, ready to forward.

    ``event`` is the object in it, None where there is none, ``slots`` the texts in that, and
    ``name`` its type as the stream has it. ``held`` is True while a tool call is incomplete: this
    frame and all that follow it wait for the next frame with ``held`` False. ``proposals`` are the
    tool calls that it completes.

    Events that are alike but for a piece of one text come as one frame: ``texts`` are those pieces,
    ``slots`` has them as one, and ``event`` is an event like them.
    """

    data: bytes
    event: dict[str, Any] | None = None
    name: str = ""
    held: bool = False
    proposals: tuple[ToolProposal, ...] = ()
    slots: Slots | None = None
    texts: tuple[str, ...] = ()

    @property
    def events(self) -> int:
        """How many events it holds."""
        return len(self.texts) or 1

    def parted(self, count: int) -> tuple[Frame, Frame]:
        """The first so many of events that are alike, and the others."""
        rest = self.data.split(b"\n\n", count)[count]
        data = self.data[: -len(rest)], rest
        texts = self.texts[:count], self.texts[count:]
        return self.of(data[0], texts[0]), self.of(data[1], texts[1])

    def apart(self) -> list[Frame]:
        """A frame for each event."""
        if not self.texts:
            return [self]
        blocks = self.data.split(b"\n\n")
        return [
            self.of(block + b"\n\n", (text,))
            for block, text in zip(blocks, self.texts, strict=False)
        ]

    def changed(self, changes: Mapping[Path, Any], names: Mapping[Path, str]) -> bytes:
        """The bytes of its only event with these changes; see ``replaced``."""
        if self.texts and self.slots is not None:
            changes = {self.slots.slots[0].path: self.texts[0], **changes}
        return frame(replaced(self.event, changes, names), self.name).data

    def of(self, data: bytes, texts: tuple[str, ...]) -> Frame:
        """A frame of events that are like its own but for these texts."""
        slots = None if self.slots is None else self.slots.of("".join(texts))
        return msgspec.structs.replace(self, data=data, slots=slots, texts=texts)


def frame(
    event: dict[str, Any],
    name: str = "",
    *,
    held: bool = False,
    proposals: tuple[ToolProposal, ...] = (),
) -> Frame:
    """An event, encoded."""
    data = event_bytes(encode(event), name)
    return Frame(data=data, event=event, name=name, held=held, proposals=proposals)


class StreamDecoder(Protocol):
    """Reads one stream; the cut of the bytes makes no difference to what it returns.

    An error that the provider reports in mid-stream passes as a frame and ends the stream.
    """

    @property
    def ended(self) -> bool:
        """Whether the end has been read that the API gives its streams."""
        ...

    def feed(self, chunk: bytes) -> list[Frame]:
        """Take the next bytes, return the frames that they complete.

        Raises Problem PC5003 (malformed), PC5004 (an event too large), PC5008 (broken off within
        a tool call) or PC5010 (unknown event). Nothing may follow a Problem, and frames of the
        same chunk before it are dropped with it.
        """
        ...

    def end(self) -> Result:
        """Say what it was: no payload; ``size`` counts the bytes of all frames.

        Raises Problem PC5008 when the stream did not end as its API says.
        """
        ...


class Shape(Protocol):
    """One operation of one API."""

    @property
    def api(self) -> str:
        """``openai`` or ``anthropic``."""
        ...

    @property
    def operation(self) -> str:
        """Method and path, such as ``POST /v1/messages``."""
        ...

    def request(self, payload: Any) -> ModelRequest:
        """Understand a request, or raise Problem PC1020 (shape) or PC1021 (unknown field)."""
        ...

    def result(self, payload: Any, request: ModelRequest) -> Result:
        """Understand a successful answer, or raise Problem PC5003.

        ``size`` counts the bytes of the canonical encoding.
        """
        ...

    def stream(self, request: ModelRequest) -> StreamDecoder:
        """A decoder for the answer to a request that asked for a stream."""
        ...


class EventStream(ABC):
    """What the decoders have in common: parsing, counting, and how a stream ends.

    A subclass says in ``take`` what an event means: it returns the frame, or None to swallow the
    event, and sets ``open_calls``, ``ended``, ``failed``, ``usage`` and ``finish``; and in
    ``slots`` what its texts are.
    """

    words_only: ClassVar[bool] = False
    """Whether an event that differs from the last one in a text that grows, and in nothing else,
    tells ``take`` nothing new."""

    def __init__(self) -> None:
        self._parser = SSEParser()
        self._alike: tuple[Alike, Frame] | None = None
        self._patience = _PATIENCE
        self._size = 0
        self._proposals: list[ToolProposal] = []
        self.open_calls: dict[Any, Any] = {}
        self.ended = False
        self.failed = False
        self.usage: Usage | None = None
        self.finish: str | None = None

    def feed(self, chunk: bytes) -> list[Frame]:
        """See StreamDecoder."""
        if not self.words_only or b"\r" in chunk or len(chunk) > MAX_EVENT:
            return self._read(chunk)
        *blocks, rest = chunk.split(b"\n\n")
        frames: list[Frame] = []
        at = 0
        while at < len(blocks):
            run = self._run(blocks, at)
            if run is not None:
                frames.append(run)
                at += run.events
            else:
                frames += self._read(blocks[at] + b"\n\n", blocks[at])
                at += 1
        return frames + self._read(rest) if rest else frames

    def _read(self, data: bytes, block: bytes = b"") -> list[Frame]:
        """Understand events one by one; ``block`` is one that may be all of the data."""
        whole = bool(block) and self._parser.between
        frames = []
        for event in self._parser.feed(data):
            self._alike = None
            frame = self.take(event)
            if frame is None:
                continue
            if frame.event is not None:
                frame = msgspec.structs.replace(frame, slots=self.slots(frame.event))
            self._size += len(frame.data)
            self._proposals += frame.proposals
            frames.append(frame)
            if whole and self._patience:
                self._expect(block, event, frame)
        return frames

    def _run(self, blocks: list[bytes], at: int) -> Frame | None:
        """The events from there on that are like the last one, as one frame."""
        if self._alike is None or not self._parser.between:
            return None
        around, like = self._alike
        data, texts = around.run(blocks, at)
        if not texts:
            return None
        self._patience = _PATIENCE
        self._size += len(data)
        return like.of(data, tuple(texts))

    def _expect(self, block: bytes, event: ServerSentEvent, frame: Frame) -> None:
        """Remember an event that is all about one piece of text: more like it may follow."""
        slots = frame.slots
        if frame.event is None or slots is None or not slots.one_grows:
            return
        self._patience -= 1
        around = alike(block, event.data, frame.data, frame.event, slots.slots[0].path)
        self._alike = None if around is None else (around, frame)

    def end(self) -> Result:
        """See StreamDecoder."""
        if not self.ended:
            raise Problem("PC5008", "the stream broke off before its end")
        return Result(
            payload=None,
            size=self._size,
            is_error=self.failed,
            usage=self.usage,
            finish=self.finish,
            proposals=tuple(self._proposals),
        )

    @abstractmethod
    def take(self, event: ServerSentEvent) -> Frame | None:
        """Understand one event."""

    @abstractmethod
    def slots(self, event: dict[str, Any]) -> Slots:
        """The texts in an event that ``take`` has put into a frame."""

    def fail(self) -> None:
        """The provider reports an error: the end, and a fault if a tool call is incomplete."""
        if self.open_calls:
            raise Problem("PC5008", "the provider failed in the middle of a tool call")
        self.ended = self.failed = True


def event_data(event: ServerSentEvent) -> dict[str, Any]:
    """The JSON object that an event carries, or Problem PC5003."""
    try:
        value = decode(event.data.encode())
    except Problem as problem:
        raise Problem("PC5003", f"a stream event is not strict JSON: {problem.detail}") from None
    if type(value) is not dict:
        raise Problem("PC5003", "a stream event is not an object")
    return value


def only_failure(data: dict[str, Any]) -> dict[str, Any]:
    """What of an event passes that reports an error: no content or call beside the error."""
    return {
        name: value
        for name, value in data.items()
        if name == "error" or (type(value) is not dict and type(value) is not list)
    }


def proposal(call_id: str, name: str, arguments: str) -> ToolProposal:
    """A complete tool call; ``arguments`` must be a strict JSON object, or empty for none."""
    if not name:
        raise Problem("PC5003", "a tool call without a name")
    if arguments:
        try:
            value = decode(arguments.encode())
        except Problem as problem:
            detail = f"the arguments of a tool call are not strict JSON: {problem.detail}"
            raise Problem("PC5003", detail) from None
        if type(value) is not dict:
            raise Problem("PC5003", "the arguments of a tool call are not an object")
    return ToolProposal(id=call_id, name=name, arguments=arguments)


def free_proposal(call_id: str, name: str, text: str) -> ToolProposal:
    """A complete call of a custom tool, whose input is free text: it becomes a JSON string."""
    if not name:
        raise Problem("PC5003", "a tool call without a name")
    return ToolProposal(id=call_id, name=name, arguments=encode(text).decode())
