"""If these fail, a chunk of a stream that looks like the one before it escapes what every chunk
has to pass."""

import json

import pytest

from portcullis.core.errors import Problem
from portcullis.wire.openai_chat_slots import chat_slots
from portcullis.wire.openai_chat_stream import ChatStream


def event(content, **more):
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": None} | more
    return b"data: %s\n\n" % json.dumps({"id": "c-1", "model": "m", "choices": [choice]}).encode()


def said(stream, *events):
    return [stream.slots(frame.event) for one in events for frame in stream.feed(one)]


def test_chunks_that_are_alike_have_the_same_texts_as_if_each_were_taken_apart():
    stream = ChatStream(strip_usage=False)
    for text in ("one", "two", ""):
        [found] = said(stream, event(text))
        whole = chat_slots(json.loads(event(text)[6:]))
        assert (found.slots, found.closes) == (whole.slots, whole.closes)
        assert [r.walk.texts for r in found.rest] == [r.walk.texts for r in whole.rest]


def test_what_is_new_beside_the_text_is_seen_though_the_chunks_before_were_alike():
    stream = ChatStream(strip_usage=False)
    said(stream, event("one"), event("two"))
    [found] = said(stream, event("three", note="call 555-0199"))
    assert "call 555-0199" in [text.text for text in found.rest[0].walk.texts]
    [end] = said(stream, event("four", finish_reason="stop"))
    assert end.closes == ("choices[0].",)


@pytest.mark.parametrize("wrong", [{"index": False}, {"index": 0.5}, {"logprobs": 3}])
def test_a_chunk_that_python_takes_for_the_one_before_is_refused(wrong):
    stream = ChatStream(strip_usage=False)
    said(stream, event("one"), event("two"))
    with pytest.raises(Problem, match="PC5003"):
        said(stream, event("three", **wrong))
