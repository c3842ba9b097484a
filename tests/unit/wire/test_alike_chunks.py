"""If these fail, an event of a stream that looks like the one before it escapes what every event
has to pass."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden.llm.vectors import comparable
from portcullis.core.errors import Problem
from portcullis.wire import SHAPES
from portcullis.wire.json import encode
from portcullis.wire.openai_chat_slots import chat_slots
from portcullis.wire.openai_chat_stream import ChatStream

MESSAGES = SHAPES["anthropic", "POST", "/v1/messages"]


def chunk(content, **more):
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": None} | more
    return {"id": "c-1", "model": "m", "choices": [choice]}


def event(content, **more):
    return b"data: %s\n\n" % encode(chunk(content, **more))


def spaced(content, **more):
    return b"data: %s\n\n" % json.dumps(chunk(content, **more)).encode()


def delta(text):
    value = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": text},
    }
    return b"event: content_block_delta\ndata: %s\n\n" % encode(value)


def frames(stream, *events):
    return [frame for one in events for frame in stream.feed(one)]


def each(stream, *events):
    """A frame for each event."""
    return [comparable(one) for frame in frames(stream, *events) for one in frame.apart()]


def began():
    """A stream of messages within its first block."""
    stream = MESSAGES.stream(
        MESSAGES.request({"messages": [], "max_tokens": 9, "model": "m", "stream": True})
    )
    message = {"type": "message", "role": "assistant", "content": [], "usage": {}}
    block = {"type": "text", "text": ""}
    for value in (
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
    ):
        stream.feed(b"data: %s\n\n" % encode(value))
    return stream


def refused(stream, *events):
    with pytest.raises(Problem) as raised:
        frames(stream, *events)
    return raised.value.code


STREAMS = {"chat": (lambda: ChatStream(strip_usage=False), event), "messages": (began, delta)}


@pytest.mark.parametrize("make", [event, spaced])
def test_events_that_are_alike_have_the_same_texts_as_if_each_were_taken_apart(make):
    stream = ChatStream(strip_usage=False)
    for text in ("one", "two", "", "three"):
        [frame] = frames(stream, make(text))
        found, whole = frame.slots, chat_slots(chunk(text))
        assert (found.slots, found.closes) == (whole.slots, whole.closes)
        assert [r.walk.texts for r in found.rest] == [r.walk.texts for r in whole.rest]


@pytest.mark.parametrize("api", STREAMS)
def test_events_that_are_alike_are_one_frame_and_go_on_byte_for_byte(api):
    start, make = STREAMS[api]
    sent = [make(text) for text in ("one ", "two ", 'a "quoted" \\ line\n', "drei \u00e4 ")]
    stream = start()
    stream.feed(b": what a byte order mark may stand before\n\n")
    [first, rest] = frames(stream, b"".join(sent))
    assert (first.data, rest.data) == (sent[0], b"".join(sent[1:]))
    assert rest.events == 3
    assert rest.slots.slots[0].text == 'two a "quoted" \\ line\ndrei \u00e4 '
    assert [frame.data for frame in rest.apart()] == sent[1:]


@pytest.mark.parametrize("api", STREAMS)
@given(
    texts=st.lists(st.text(max_size=4), max_size=12),
    strange=st.lists(st.tuples(st.integers(0, 12), st.sampled_from([b": x\n\n", b"\n"]))),
    cuts=st.lists(st.integers(0, 1500), max_size=6),
)
def test_whether_events_are_read_together_or_one_by_one_makes_no_difference(
    api, texts, strange, cuts
):
    start, make = STREAMS[api]
    events = [make(text.replace("\0", "")) for text in texts]
    for at, line in strange:
        events.insert(at, line)
    stream = b"".join(events)
    marks = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    together = each(start(), *(stream[a:b] for a, b in pairwise(marks)))
    assert together == each(start(), stream.replace(b"\n", b"\r\n"))


def test_a_count_that_the_client_did_not_ask_for_is_taken_out_of_all_of_them():
    stream = ChatStream(strip_usage=True)
    came = [b"data: %s\n\n" % encode(chunk(text) | {"usage": None}) for text in "abc"]
    out = b"".join(frame.data for frame in frames(stream, b"".join(came)))
    assert out == b"".join(event(text) for text in "abc")


def test_what_is_new_beside_the_text_is_seen_though_the_events_before_were_alike():
    stream = ChatStream(strip_usage=False)
    frames(stream, event("one"), event("two"))
    [frame] = frames(stream, event("three", note="call 555-0199"))
    assert "call 555-0199" in [text.text for text in frame.slots.rest[0].walk.texts]
    [end] = frames(stream, event("four", finish_reason="stop"))
    assert end.slots.closes == ("choices[0].",)
    assert refused(stream, event("five")) == "PC5003"


def test_nothing_follows_an_end_though_it_is_like_what_came_after_the_end():
    stream = ChatStream(strip_usage=False)
    frames(stream, event("one"), event("two", finish_reason="stop"), event(""))
    assert refused(stream, event("three")) == "PC5003"


@pytest.mark.parametrize("wrong", [{"index": False}, {"index": 0.5}, {"logprobs": 3}])
def test_an_event_that_python_takes_for_the_one_before_is_refused(wrong):
    stream = ChatStream(strip_usage=False)
    frames(stream, event("one"), event("two"))
    assert refused(stream, event("three", **wrong)) == "PC5003"


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b'"a', b'"a""b"', b'"a","b"', b'"a"}', b"7", b'["a"]', b'"a" "b"'),
        *(b'"a\nb"', b'"a"\n"b"', b'"\\u0000"', b'"\\ud800"', b'"\xff"', b'"a\x01"'),
    ],
)
@pytest.mark.parametrize("api", STREAMS)
def test_what_is_no_text_where_the_text_was_is_refused(api, text):
    start, make = STREAMS[api]
    before, after = make("TEXT").split(b'"TEXT"')
    wrong = before + text + after
    for events in ([wrong], [make("two"), wrong], [wrong, make("two")]):
        stream = start()
        frames(stream, make("one"))
        assert refused(stream, b"".join(events)) in {"PC5003", "PC5010"}


def test_half_texts_do_not_make_up_for_each_other():
    before, after = event("TEXT").split(b'"TEXT"')
    for halves in ((b'"a","b"', b'"c', b'd"'), (b'"a""b"', b""), (b'"a"\n"b"', b'"c"')):
        stream = ChatStream(strip_usage=False)
        frames(stream, event("one"))
        assert refused(stream, b"".join(before + half + after for half in halves)) == "PC5003"


def test_a_text_written_in_another_way_is_the_same_text():
    stream = ChatStream(strip_usage=False)
    before, after = event("TEXT").split(b'"TEXT"')
    frames(stream, event("one"))
    [frame] = each(stream, before + rb'"\u0061\/"' + after)
    assert (frame.data, frame.slots.slots[0].text) == (event("a/"), "a/")
