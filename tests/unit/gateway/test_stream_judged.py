"""A judged stream: what the client puts together is what the judge let through, and no more."""

import base64
import json

import pytest

from golden.llm.vectors import STREAMS
from portcullis.core.check import Progress
from portcullis.core.errors import Problem
from portcullis.core.inspection import Edit
from portcullis.core.verdict import Deny
from portcullis.gateway.stream import LEAST, HeldBack
from portcullis.gateway.stream_judged import Judged, Stopped
from portcullis.wire import SHAPES
from portcullis.wire.json import encode
from portcullis.wire.model import Frame
from portcullis.wire.sse import SSEParser

CHAT = SHAPES["openai", "POST", "/v1/chat/completions"]
RESPONSES = SHAPES["openai", "POST", "/v1/responses"]
MESSAGES = SHAPES["anthropic", "POST", "/v1/messages"]
SECRET, MASK = "swordfish", "***"
WORDS = "The word is swordfish, and swordfish it stays. sword"
MASKED = WORDS.replace(SECRET, MASK)
LIMIT = 2**20


class Masks:
    """Masks one word, holding back no more than what may become it; another ends the stream."""

    def __init__(self, forbidden="\0"):
        self.forbidden = forbidden
        self.texts = {}
        self.done = {}
        self.ended = []
        self.wholes = []
        self.unread = []
        self.sealed = []
        self.findings = ()

    def text(self, key, piece, *, last):
        assert key not in self.ended
        text = self.texts[key] = self.texts.get(key, "") + piece
        if self.forbidden in text:
            return Deny(code="PC3021", reason="forbidden")
        start, edits = self.done.get(key, 0), []
        while (at := text.find(SECRET, start)) >= 0:
            start = at + len(SECRET)
            edits.append(Edit(start=at, end=start, text=MASK))
        settled = len(text)
        if last:
            self.ended.append(key)
        else:
            rest = text[start:]
            held = (
                n
                for n in range(1, len(rest) + 1)
                for word in (SECRET, self.forbidden)
                if word.startswith(rest[-n:])
            )
            settled -= max(held, default=0)
        self.done[key] = start
        return Progress(settled=settled, edits=tuple(edits))

    def whole(self, key, text, *, json, sealed=False, error=False):
        self.wholes.append((key, json))
        self.sealed += [text] * sealed
        if self.forbidden in text:
            return Deny(code="PC3021", reason="forbidden")
        return text.replace(SECRET, MASK)

    def clear(self, texts):
        words = (SECRET, self.forbidden)
        return not any(word in text for _, text, _ in texts for word in words)

    def opaque(self, key):
        self.unread.append(key)
        return Deny(code="PC3024", reason=key) if key == self.forbidden else None

    def end(self, result):
        return None


def sse(*events):
    named = [b"event: " + e["type"].encode() + b"\n" if "type" in e else b"" for e in events]
    return [n + b"data: " + encode(e) + b"\n\n" for n, e in zip(named, events, strict=True)]


def chat(pieces, member="content", finish="stop", **more):
    deltas = [{"role": "assistant"}, *({member: piece, **more} for piece in pieces), {}]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    chunks = [{"id": "c1", "created": 1760000000, "choices": [choice]} for choice in choices]
    chunks[-1]["choices"][0]["finish_reason"] = finish
    return [*sse(*chunks), b"data: [DONE]\n\n"]


def chat_call(pieces):
    calls = [[{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]]
    calls += [[{"index": 0, "function": {"arguments": piece}}] for piece in pieces]
    chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": c}}]} for c in calls]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    return [*sse(*chunks), b"data: [DONE]\n\n"]


def numbered(*events):
    return sse(*({**event, "sequence_number": at} for at, event in enumerate(events)))


def item_done(item):
    end = {"type": "response.completed", "response": {"output": [item], "status": "completed"}}
    return [{"type": "response.output_item.done", "output_index": 0, "item": item}, end]


def responses(pieces):
    text = "".join(pieces)
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"type": "message", "role": "assistant", "content": [part]}
    at = {"output_index": 0, "content_index": 0}
    return numbered(
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", **at, "delta": p} for p in pieces),
        {"type": "response.output_text.done", **at, "text": text},
        {"type": "response.content_part.done", **at, "part": part},
        *item_done(item),
    )


def responses_call(pieces):
    item = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "".join(pieces)}
    kind = "response.function_call_arguments"
    begun = {**item, "arguments": ""}
    return numbered(
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        *({"type": f"{kind}.delta", "output_index": 0, "delta": piece} for piece in pieces),
        {"type": f"{kind}.done", "output_index": 0, "arguments": "".join(pieces)},
        *item_done(item),
    )


def message(block, deltas):
    start = {"type": "message", "role": "assistant", "content": []}
    return sse(
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    )


def messages(pieces):
    return message(
        {"type": "text", "text": pieces[0]},
        [{"type": "text_delta", "text": piece} for piece in pieces[1:]],
    )


def messages_call(pieces):
    return message(
        {"type": "tool_use", "id": "c", "name": "f", "input": {}},
        [{"type": "input_json_delta", "partial_json": piece} for piece in pieces],
    )


def read(data):
    """What a client puts together: the growing text, the arguments, the repetitions of both."""
    text, arguments, repeated = "", "", []
    for event in SSEParser().feed(data):
        value = json.loads(event.data) if event.data != "[DONE]" else {}
        for choice in value.get("choices", ()):
            text += choice["delta"].get("content") or ""
            for call in choice["delta"].get("tool_calls", ()):
                arguments += call["function"]["arguments"]
        kind, delta = value.get("type", ""), value.get("delta", "")
        if kind == "content_block_start":
            text += value["content_block"].get("text", "")
        elif kind == "content_block_delta":
            text += delta.get("text", "")
            arguments += delta.get("partial_json", "")
        elif kind.endswith("_text.delta"):
            text += delta
        elif kind.endswith("_arguments.delta"):
            arguments += delta
        repeated += repetitions(value, kind)
    return text, arguments, repeated


def repetitions(value, kind):
    found = [value[key] for key in ("text", "arguments") if key in value]
    items = value.get("response", {}).get("output", [])
    if kind == "response.output_item.done":
        items = [value["item"]]
    elif kind == "response.content_part.done":
        found.append(value["part"]["text"])
    for item in items:
        found += [item["arguments"]] if "arguments" in item else []
        found += [part["text"] for part in item.get("content", ())]
    return found


def decoder(shape, **more):
    asked = {
        CHAT: {"messages": []},
        RESPONSES: {"input": "x"},
        MESSAGES: {"messages": [], "max_tokens": 9},
    }[shape]
    return shape.stream(shape.request({**asked, **more, "model": "m", "stream": True}))


def run(shape, events, judge=None, limit=LIMIT):
    """Everything that goes out, event by event, and the result as the client got it."""
    source = decoder(shape)
    queue = Judged(judge or Masks(), limit)
    out = [queue.feed(source.feed(event)) for event in events]
    result = source.end()
    out.append(queue.rest())
    return out, queue.summary(result)


FORMATS = [(CHAT, chat), (RESPONSES, responses), (MESSAGES, messages)]
CALLS = [(CHAT, chat_call), (RESPONSES, responses_call), (MESSAGES, messages_call)]
IDS = ["chat", "responses", "messages"]


@pytest.mark.parametrize("vector", STREAMS, ids=lambda vector: vector.name)
def test_a_stream_without_findings_passes_byte_for_byte(vector):
    source, judge = vector.decoder(), Masks()
    queue = Judged(judge, LIMIT)
    out = [queue.feed(source.feed(event + b"\n\n")) for event in vector.stream.split(b"\n\n")[:-1]]
    result = source.end()
    assert b"".join(out) + queue.rest() == vector.forwarded
    assert queue.summary(result).size == len(vector.forwarded)
    assert queue.summary(result).proposals == result.proposals
    plain = vector.decoder()
    held = HeldBack(LIMIT)
    assert held.feed(plain.feed(vector.stream)) + held.rest() == vector.forwarded


@pytest.mark.parametrize(("shape", "make"), FORMATS, ids=IDS)
def test_a_secret_cut_at_any_position_is_masked_and_nothing_else_is(shape, make):
    for at in range(1, len(WORDS)):
        for width in (1, 4):
            pieces = [WORDS[:at], WORDS[at : at + width], WORDS[at + width :]]
            out, result = run(shape, make([piece for piece in pieces if piece]))
            text, _, repeated = read(b"".join(out))
            assert text == MASKED
            assert set(repeated) == ({MASKED} if shape is RESPONSES else set())
            assert SECRET.encode() not in b"".join(out)
            assert result.size == len(b"".join(out))


CIPHER = base64.b64encode(bytes(range(128, 255))).decode()


def signed(*pieces):
    block = {"type": "thinking", "thinking": "", "signature": ""}
    begun = {"type": "message", "role": "assistant", "content": []}
    return sse(
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "signature_delta", "signature": piece},
            }
            for piece in pieces
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    )


def test_a_signature_says_nothing_unread():
    judge = Masks()
    out, _ = run(MESSAGES, signed(CIPHER[:50], CIPHER[50:]), judge)
    assert judge.sealed == [CIPHER]
    assert b"".join(out).count(CIPHER[50:].encode()) == 1
    judge = Masks()
    out, _ = run(MESSAGES, signed("the sword", "fish"), judge)
    assert judge.sealed == []
    assert b"fish" not in b"".join(out)
    judge = Masks(forbidden="honey")
    with pytest.raises(Stopped):
        run(MESSAGES, signed("ho", "ney"), judge)


def test_enciphered_reasoning_is_told_from_what_is_said():
    item = {"type": "reasoning", "summary": [], "encrypted_content": CIPHER}
    judge = Masks()
    run(RESPONSES, numbered(*item_done(item)), judge)
    assert set(judge.sealed) == {CIPHER}


class Remembers(Masks):
    """Repeats of a text become what has become of it so far, as they do in inspection."""

    def whole(self, key, text, *, json, sealed=False, error=False):
        if self.texts.get(key) == text and key not in self.ended:
            return "cut off"
        return super().whole(key, text, json=json)


def test_what_repeats_a_text_at_its_end_is_not_cut_off():
    events = responses(["The word is sword", "fish and sword"])
    without = [event for event in events if b"output_text.done" not in event]
    for stream in (events, without):
        out, _ = run(RESPONSES, stream, Remembers())
        text, _, repeated = read(b"".join(out))
        assert text == "The word is *** and sword"
        assert set(repeated) == {text}


@pytest.mark.parametrize(("shape", "make"), FORMATS, ids=IDS)
def test_text_that_is_settled_goes_on_at_once_and_what_may_be_a_secret_waits(shape, make):
    events = make(list(WORDS))
    out, _ = run(shape, events)
    sent = b""
    for piece in out:
        sent += piece
        text = read(sent)[0]
        assert MASKED.startswith(text)
    assert sum(1 for piece in out if not piece) <= 2 * len(SECRET) + 10
    assert b"".join(out).count(b"data:") == len(events)


@pytest.mark.parametrize(("shape", "make"), CALLS, ids=IDS)
def test_arguments_are_judged_whole_and_proposed_as_the_client_sees_them(shape, make):
    arguments = '{"to":"swordfish"}'
    for at in range(1, len(arguments)):
        judge = Masks()
        out, result = run(shape, make([arguments[:at], arguments[at:]]), judge)
        _, seen, repeated = read(b"".join(out))
        assert seen == '{"to":"***"}' == result.proposals[0].arguments
        assert set(repeated) == ({seen} if shape is RESPONSES else set())
        assert any(is_json for _, is_json in judge.wholes)
        assert SECRET.encode() not in b"".join(out)


def test_the_input_of_a_custom_tool_is_judged_and_proposed_as_a_string():
    pieces = ["say sword", "fish"]
    calls = [[{"index": 0, "id": "c", "type": "custom", "custom": {"name": "f", "input": ""}}]]
    calls += [[{"index": 0, "custom": {"input": piece}}] for piece in pieces]
    chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": c}}]} for c in calls]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    out, result = run(CHAT, [*sse(*chunks), b"data: [DONE]\n\n"])
    assert result.proposals[0].arguments == '"say ***"'
    assert b"sword" not in b"".join(out)


def test_an_input_that_came_with_its_block_is_judged_as_json():
    block = {"type": "tool_use", "id": "c", "name": "f", "input": {"to": SECRET}}
    out, result = run(MESSAGES, message(block, []))
    assert b'"input":{"to":"***"}' in b"".join(out)
    assert result.proposals[0].arguments == '{"to":"***"}'


def test_a_renamed_tool_is_proposed_under_the_name_that_the_client_sees():
    block = {"type": "tool_use", "id": "c", "name": SECRET, "input": {}}
    out, result = run(MESSAGES, message(block, []))
    assert b'"name":"***"' in b"".join(out)
    assert result.proposals[0].name == MASK


def test_the_texts_of_several_choices_are_judged_apart():
    halves = [(0, "a sword"), (1, "a sword"), (0, "fish"), (1, "sman"), (0, "."), (1, ".")]
    chunks = [{"choices": [{"index": n, "delta": {"content": t}}]} for n, t in halves]
    chunks += [{"choices": [{"index": n, "delta": {}, "finish_reason": "stop"}]} for n in (0, 1)]
    out, _ = run(CHAT, [*sse(*chunks), b"data: [DONE]\n\n"])
    texts = {0: "", 1: ""}
    for event in SSEParser().feed(b"".join(out)):
        for choice in json.loads(event.data)["choices"] if event.data != "[DONE]" else ():
            texts[choice["index"]] += choice["delta"].get("content", "")
    assert texts == {0: "a ***.", 1: "a swordsman."}


@pytest.mark.parametrize("member", ["content", "refusal", "reasoning_content", "strange name!"])
def test_whatever_a_delta_calls_its_text_it_is_judged_as_it_grows(member):
    out, _ = run(CHAT, chat(["the sword", "fi", "sh."], member))
    deltas = [
        json.loads(e.data)["choices"][0]["delta"] for e in SSEParser().feed(b"".join(out))[:-1]
    ]
    assert "".join(delta.get(member, "") for delta in deltas) == "the ***."  # fmt: skip


def test_token_probabilities_do_not_tell_what_was_masked():
    events = chat(["x"])
    chunks = [
        {"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None,
                      "logprobs": {"content": [{"token": piece, "bytes": [1], "logprob": -1.0}]}}]}
        for piece in ("plain ", "swo", "rdfish")
    ]  # fmt: skip
    out, _ = run(CHAT, [*sse(*chunks), *events[-2:]])
    assert b'"token":"plain "' in b"".join(out)
    assert b"swo" not in b"".join(out)
    assert b"rdfish" not in b"".join(out)


@pytest.mark.parametrize(("shape", "make"), FORMATS, ids=IDS)
def test_a_deny_in_mid_stream_lets_nothing_of_the_forbidden_text_out(shape, make):
    pieces = ["Fine so far. ", "But then for", "bid", "den", " words"]
    source = decoder(shape)
    queue = Judged(Masks(forbidden="forbidden"), LIMIT)
    sent = b""

    def send():
        nonlocal sent
        for event in make(pieces):
            sent += queue.feed(source.feed(event))

    with pytest.raises(Stopped) as stopped:
        send()
    assert stopped.value.code == "PC3021"
    assert stopped.value.deny.reason == "forbidden"
    assert read(sent)[0] == "Fine so far. "
    assert queue.so_far().size == len(sent)


def test_a_forbidden_text_at_the_very_end_is_denied_before_the_end_goes_out():
    source = decoder(CHAT)
    judge = Masks()
    judge.text = lambda key, piece, *, last: (
        Deny(code="PC3020", reason="late") if last else Progress(settled=0)
    )
    queue = Judged(judge, LIMIT)
    with pytest.raises(Stopped):
        queue.feed(source.feed(b"".join(chat(["text"]))))


def test_more_than_the_limit_does_not_wait():
    judge = Masks()
    judge.text = lambda key, piece, *, last: Progress(settled=0)
    with pytest.raises(Problem) as raised:
        run(CHAT, chat(["words "] * 100), judge, limit=2000)
    assert raised.value.code == "PC5004"


def test_frames_that_say_nearly_nothing_do_not_wait_in_any_number():
    for queue in (Judged(Masks(), LIMIT), HeldBack(LIMIT)):
        with pytest.raises(Problem) as raised:
            queue.feed(Frame(data=b"data: {}\n\n", held=True) for _ in range(LIMIT // LEAST + 1))
        assert raised.value.code == "PC5004"
        assert queue.frames == LIMIT // LEAST + 1


def test_a_judge_that_leaves_a_text_undecided_is_a_fault():
    judge = Masks()
    judge.text = lambda key, piece, *, last: Progress(settled=0)
    with pytest.raises(Problem) as raised:
        run(CHAT, chat(["words"]), judge)
    assert raised.value.code == "PC9001"


def test_a_text_does_not_go_on_after_its_end():
    more = {"choices": [{"index": 0, "delta": {"reasoning": "more"}}]}
    with pytest.raises(Problem) as raised:
        run(CHAT, [*chat(["x"], "reasoning")[:-1], *sse(more)])
    assert raised.value.code == "PC5003"


def test_a_stream_of_too_many_open_texts_ends():
    kind = "response.output_text.delta"
    events = numbered(
        *({"type": kind, "output_index": n, "content_index": 0, "delta": "x"} for n in range(1025))
    )
    with pytest.raises(Problem) as raised:
        run(RESPONSES, events)
    assert raised.value.code == "PC5004"


def test_what_is_not_streamed_is_judged_too_and_the_same_only_once():
    judge = Masks()
    events = chat(["a", "b", "c"], obfuscation=SECRET)
    out, _ = run(CHAT, events, judge)
    assert SECRET.encode() not in b"".join(out)
    assert [key for key, _ in judge.wholes].count("id") == 1


def test_the_words_of_a_providers_error_are_judged():
    for shape, event in (
        (CHAT, sse({"error": {"message": f"key {SECRET}"}})),
        (RESPONSES, sse({"type": "error", "message": f"key {SECRET}"})),
        (MESSAGES, sse({"type": "error", "error": {"message": f"key {SECRET}"}})),
    ):
        out, result = run(shape, event)
        assert result.is_error
        assert b"key ***" in b"".join(out)


class Strict(Masks):
    """Takes out what is in an error, and ends the stream for the same anywhere else."""

    def whole(self, key, text, *, json, sealed=False, error=False):
        if error:
            return "taken out" if self.forbidden in text else text
        return super().whole(key, text, json=json)


def test_a_providers_error_in_mid_stream_reaches_the_client_without_what_it_quotes():
    said = {"error": {"message": "so: swordfish"}}
    failed = {"id": "r", "status": "failed", "output": [], "error": {"message": "so: swordfish"}}
    for shape, events in (
        (CHAT, [*chat(["a"])[:2], *sse(said)]),
        (RESPONSES, sse({"type": "error", "message": "so: swordfish"})),
        (RESPONSES, numbered({"type": "response.failed", "response": failed})),
        (MESSAGES, sse({"type": "error", **said})),
    ):
        out, result = run(shape, events, Strict("swordfish"))
        assert result.is_error
        assert b"taken out" in b"".join(out)
        assert b"swordfish" not in b"".join(out)


def test_what_a_command_put_out_is_judged_as_it_grows():
    kind = "response.shell_call_output_content"
    events = numbered(
        *({"type": f"{kind}.delta", "output_index": 0, "command_index": 0, "delta": d}
          for d in ({"stdout": "sword"}, {"stdout": "fish", "stderr": "sword"})),
        {"type": "response.completed", "response": {"output": []}},
    )  # fmt: skip
    source = decoder(RESPONSES, tools=[{"type": "shell"}])
    queue = Judged(Masks(), LIMIT)
    out = queue.feed(source.feed(b"".join(events))) + queue.rest()
    assert b'"stdout":"***"' in out
    assert b'"stderr":"sword"' in out


def test_a_piece_of_speech_is_asked_about_and_its_bytes_carry_no_text_past_the_judge():
    speech = {"id": "a", "data": "UklGRg=="}
    asked = Masks()
    out, _ = run(CHAT, chat(["hi"], audio=speech), asked)
    assert b"UklGRg==" in b"".join(out)
    assert asked.unread == ["choices[0].delta.audio.data"]
    with pytest.raises(Stopped) as stopped:
        run(CHAT, chat(["hi"], audio=speech), Masks("choices[0].delta.audio.data"))
    assert stopped.value.deny.code == "PC3024"
    out, _ = run(CHAT, chat(["hi"], audio=speech | {"data": f"say {SECRET}"}))
    assert SECRET.encode() not in b"".join(out)
