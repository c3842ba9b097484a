import pytest

from portcullis.core.errors import Problem
from portcullis.wire.sse import KEEP_ALIVE, ServerSentEvent, SSEParser, encode


def events(*pieces, limit=2**20):
    parser = SSEParser(limit)
    return [event for piece in pieces for event in parser.feed(piece)]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_end_of_the_standard_is_read(end):
    stream = end.join([b"event: a", b"data: one", b"data: two", b"", b"data: three", b"", b""])
    assert events(stream) == [
        ServerSentEvent(data="one\ntwo", event="a"),
        ServerSentEvent(data="three"),
    ]


def test_a_line_end_cut_in_two_is_one_line_end():
    assert [e.data for e in events(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n")] == ["a\nb"]


def test_an_event_is_delivered_at_its_blank_line_and_not_one_chunk_later():
    parser = SSEParser()
    assert parser.feed(b"data: a\r\n") == []
    assert [e.data for e in parser.feed(b"\r")] == ["a"]
    assert parser.feed(b"\n") == []


def test_only_one_leading_space_and_one_byte_order_mark_are_syntax():
    assert [e.data for e in events(b"\xef\xbb\xbfdata:  a\n\n\xef\xbb\xbfdata: b\n\n")] == [" a"]
    assert [e.data for e in events(b"\xef\xbb", b"\xbfdata:a\n\n")] == ["a"]


def test_comments_and_unknown_fields_say_nothing():
    assert events(KEEP_ALIVE, b": x\nfoo: bar\ndata\n\n", b":\n\n") == [ServerSentEvent(data="")]


def test_an_event_without_data_is_none_but_its_id_counts():
    parser = SSEParser()
    assert parser.feed(b"id: 7\nevent: a\n\n") == []
    assert parser.last_id == "7"
    assert parser.feed(b"data: x\n\n") == [ServerSentEvent(data="x", id="7")]
    parser.feed(b"id: a\0b\nretry: 20\n\nretry: 1x\n\n")
    assert (parser.last_id, parser.retry) == ("7", 20)
    parser.feed(b"id\n\n")
    assert parser.last_id == ""


def test_an_event_that_the_end_cuts_off_is_discarded():
    assert events(b"data: whole\n\ndata: cut\n") == [ServerSentEvent(data="whole")]


def test_bytes_that_are_not_utf8_are_refused_instead_of_replaced():
    with pytest.raises(Problem) as raised:
        events(b"data: \xff\n\n")
    assert raised.value.code == "PC5003"


@pytest.mark.parametrize(
    "pieces",
    [[b"data: " + b"x" * 40], [b"x"] * 40, [b"data: x\n"] * 8, [b"x" * 20 + b"\n"] * 2],
    ids=["one line", "bytes", "many fields", "unknown fields"],
)
def test_an_event_without_end_is_refused_before_it_fills_the_memory(pieces):
    with pytest.raises(Problem) as raised:
        events(*pieces, limit=32)
    assert raised.value.code == "PC5004"


def test_events_within_the_bound_do_not_add_up():
    assert len(events(*[b"data: 0123456789\n\n"] * 10, limit=32)) == 10


@pytest.mark.parametrize("data", ["", "a", "a\nb", "\n", " a", "ü\r\nx", "a\rb"])
def test_what_is_written_is_read_back(data):
    back = events(encode(data.encode(), "kind", "7"))
    text = data.replace("\r\n", "\n").replace("\r", "\n")
    assert back == [ServerSentEvent(data=text, event="kind", id="7")]


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\0b"])
def test_no_event_name_or_id_can_smuggle_a_line(name):
    with pytest.raises(ValueError, match="event"):
        encode(b"x", name)
    with pytest.raises(ValueError, match="id"):
        encode(b"x", "", name)
