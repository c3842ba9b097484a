"""What is gathered of streams: what went on, in little memory, and all of it or a note."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from golden.llm.vectors import STREAMS
from portcullis.core.call import ToolProposal
from portcullis.core.check import Progress
from portcullis.gateway import streamed
from portcullis.gateway.stream_judged import Judged
from portcullis.gateway.streamed import Room, Streamed
from portcullis.wire.slots import Slot, Slots


def grows(key: str, text: str) -> Slots:
    return Slots(slots=[Slot(key=key, path=("delta",), text=text)])


def said(one: Streamed, *calls: ToolProposal) -> Any:
    (data,) = one.answer(calls).values()
    return json.loads(data)


def test_a_text_is_put_together_with_what_changed_in_its_pieces() -> None:
    with Streamed(Room()) as one:
        one.event(grows("a", "It is "), {}, {})
        one.event(grows("a", "sword"), {("delta",): "***"}, {})
        one.event(grows("a", "fish"), {("delta",): ""}, {})
        one.event(grows("b", "Ünd"), {}, {})
        assert said(one) == {"texts": {"a": "It is ***", "b": "Ünd"}}


class Passes:
    """Lets all pass."""

    findings = ()

    def __init__(self) -> None:
        self.length: dict[str, int] = {}

    def text(self, key: str, piece: str, *, last: bool) -> Progress:
        self.length[key] = self.length.get(key, 0) + len(piece)
        return Progress(settled=self.length[key])

    def whole(self, key: str, text: str, **_: bool) -> str:
        return text

    def clear(self, texts: Any) -> bool:
        return True

    def opaque(self, key: str) -> None:
        return None


@pytest.mark.parametrize("vector", STREAMS, ids=lambda vector: vector.name)
def test_what_is_kept_of_a_stream_has_each_text_once_judged_or_not(vector: Any) -> None:
    plain = vector.decoder()
    with Streamed(Room()) as one:
        for frame in plain.feed(vector.stream):
            if frame.slots is not None:
                one.event(frame.slots, {}, {})
        result = plain.end()
        kept = said(one, *result.proposals)
    decoder = vector.decoder()
    with Streamed(Room()) as one:
        queue = Judged(Passes(), 2**20, one)
        queue.feed(decoder.feed(vector.stream))
        end = decoder.end()
        queue.rest()
        assert said(one, *queue.summary(end).proposals) == kept
    texts = kept.get("texts", {})
    for key, others in kept.get("others", {}).items():
        assert texts.get(key) not in others
        assert len(set(others)) == len(others)
    calls = [{"name": call.name, "arguments": call.arguments} for call in result.proposals]
    assert kept.get("calls", []) == calls
    assert texts or calls or result.is_error


def test_a_member_that_was_renamed_leaves_nothing_of_the_stream() -> None:
    with Streamed(Room()) as one:
        one.event(grows("a", "fine"), {}, {})
        one.event(grows("a", "worse"), {}, {("delta",): "***"})
        one.event(grows("a", "fine"), {}, {})
        assert one.answer(()) == {}


def test_past_its_bound_a_stream_leaves_a_note_and_its_memory_is_free(monkeypatch) -> None:
    monkeypatch.setattr(streamed, "MAX_STREAM", 1000)
    room = Room(5000)
    with Streamed(room) as one:
        for _ in range(400):
            one.event(grows("a", "abc"), {}, {})
        assert room.free == 5000
        assert one.answer(()) == {"result.left_out": b'"longer than 1000 bytes"'}


def test_streams_that_take_too_much_together_leave_a_note_and_the_others_are_whole() -> None:
    room = Room(1000)
    with Streamed(room) as first, Streamed(room) as second:
        first.event(grows("a", "x" * 500), {}, {})
        second.event(grows("a", "x" * 500), {}, {})
        assert said(first) == {"texts": {"a": "x" * 500}}
        assert second.answer(()) == {"result.left_out": b'"too much was streamed at once"'}
    assert room.free == 1000


def test_memory_is_free_again_also_when_a_stream_ends_badly() -> None:
    room = Room(1000)

    def fails() -> None:
        with Streamed(room) as one:
            one.event(grows("a", "x" * 500), {}, {})
            assert room.free < 500
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert room.free == 1000


@pytest.mark.parametrize("texts", [1, 500])
def test_many_streams_at_once_take_no_more_memory_than_they_may(texts: int) -> None:
    most = 2**20
    room = Room(most)
    streams = [Streamed(room) for _ in range(100)]
    slots = [grows(f"output[{n % texts}].text", "abc") for n in range(1000)]
    tracemalloc.start()
    try:
        for piece in slots:
            for one in streams:
                one.event(piece, {}, {})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * most
    assert 0 <= room.free < most
    assert any(one.answer(()).keys() == {"result"} for one in streams)
    for one in streams:
        one.spoil()
    assert room.free == most


def test_the_messages_of_a_tool_server_are_kept_in_order() -> None:
    with Streamed(Room()) as one:
        assert one.messages() == {}
        one.message({"method": "a"})
        one.message({"method": "b"})
        assert one.messages() == {"messages": b'[{"method":"a"},{"method":"b"}]'}
