"""The model routes around a judge: what it ends, what is remembered, what is recorded."""

import contextlib
import json
from types import SimpleNamespace

import msgspec
import pytest

import policies
from portcullis.config import Limits, ModelUpstream
from portcullis.core.check import MAX_FINDINGS, Progress
from portcullis.core.verdict import Allow, Deny, Finding
from portcullis.gateway.http import Request
from portcullis.gateway.llm import ModelRoutes
from portcullis.gateway.outcome import Outcome
from portcullis.gateway.streamed import Room, Streamed
from portcullis.wire.json import encode

pytestmark = pytest.mark.anyio

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"to":"secret"}'}}


class Judge:
    """Lets all pass but one word."""

    findings = ()

    def __init__(self):
        self.length = 0

    def text(self, key, piece, *, last):
        self.length += len(piece)
        if "forbidden" in piece:
            return Deny(code="PC3021", reason="forbidden")
        return Progress(settled=self.length)

    def whole(self, key, text, *, json, sealed=False, error=False):
        return text.replace("secret", "***")

    def clear(self, texts):
        return not any("secret" in text for _, text, _ in texts)


class Line:
    """A pipeline that allows, changes what it is told to, and notes the order of things."""

    measures = False

    def __init__(self, judge=None, *, sent=None, payload=None):
        self.judge, self.sent, self.payload = judge, sent, payload
        self.seen = []
        self.records = SimpleNamespace(
            remember=self.remember, streamed=lambda _: contextlib.nullcontext()
        )

    async def request(self, call, context):
        call = msgspec.structs.replace(call, payload=self.sent) if self.sent else call
        return Outcome(verdict=Allow(rule="r"), call=call, event="e")

    def stream(self, call, context):
        return self.judge

    def chunk(self, call, context):
        return None

    async def result(self, outcome, context, result, *, judge=None, findings=()):
        self.seen.append(("result", result, judge))
        return msgspec.structs.replace(result, payload=self.payload) if self.payload else result

    async def remember(self, outcome, context, result):
        self.seen.append(("remember", result))

    def stopped(self, outcome, context, result, judge, denied):
        self.seen.append(("stopped", result, denied))

    def failed(self, outcome, context, problem):
        self.seen.append(("failed", problem))


class Upstream:
    """Answers everything with the same pieces."""

    def __init__(self, kind, *pieces):
        self.status = 200
        self.headers = {"content-type": kind}
        self.pieces = pieces

    async def send(self, request):
        return self

    async def read(self):
        return b"".join(self.pieces)

    async def chunks(self):
        for piece in self.pieces:
            yield piece

    def close(self):
        pass


async def serve(line, upstream, asked, path="/v1/chat/completions", *, headed=False):
    out = []

    async def receive():
        return {"type": "http.request", "body": encode(asked), "more_body": False}

    async def send(message):
        out.append(message)

    head = [(b"content-type", b"application/json")]
    request = Request({"method": "POST", "path": path, "headers": head}, receive, send)
    models = {"m": ModelUpstream(shape="openai", url="https://model.invalid")}
    await ModelRoutes(line, upstream, models, Limits())(request, policies.context(), "openai", path)
    status, body = out[0]["status"], b"".join(message.get("body", b"") for message in out)
    return (status, body, dict(out[0]["headers"])) if headed else (status, body)


def streamed(*deltas, finish="stop"):
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    return [*(b"data: " + encode(chunk) + b"\n\n" for chunk in chunks), b"data: [DONE]\n\n"]


ASKED = {"model": "gpt", "messages": []}


async def test_a_stream_that_is_ended_says_why_and_is_recorded_once():
    line = Line(Judge())
    pieces = streamed({"content": "Fine. "}, {"content": "forbidden words"})
    status, body = await serve(
        line, Upstream("text/event-stream", *pieces), {**ASKED, "stream": True}
    )
    assert status == 200
    assert b"Fine. " in body
    assert b"words" not in body
    assert b"PC3021" in body.rsplit(b"event: error", 1)[1]
    ((what, result, denied),) = line.seen
    assert (what, denied.code, result.chunks) == ("stopped", "PC3021", 2)
    assert 0 < result.size < len(body)


async def test_a_stream_that_is_ended_before_its_first_byte_is_a_plain_refusal():
    line = Line(Judge())
    upstream = Upstream("text/event-stream", *streamed({"content": "forbidden"}))
    status, body = await serve(line, upstream, {**ASKED, "stream": True})
    assert status == 403
    assert json.loads(body)["error"]["code"] == "PC3021"
    assert [entry[0] for entry in line.seen] == ["stopped"]


async def test_the_calls_of_a_stream_are_remembered_as_the_client_sees_them():
    line = Line(Judge())
    calls = [{"tool_calls": [{"index": 0, **CALL}]}]
    upstream = Upstream("text/event-stream", *streamed(*calls, finish="tool_calls"))
    _, body = await serve(line, upstream, {**ASKED, "stream": True})
    assert b"secret" not in body
    assert [entry[0] for entry in line.seen] == ["result", "remember"]
    assert line.seen[0][2] is line.judge
    assert line.seen[0][1].size == len(body)
    assert line.seen[1][1].proposals[0].arguments == '{"to":"***"}'


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_no_header_of_an_answer_says_what_nobody_reads(stream):
    pieces = streamed({"content": "Fine."}) if stream else [encode({"choices": []})]
    upstream = Upstream("text/event-stream" if stream else "application/json", *pieces)
    upstream.headers |= {"retry-after": "7", "x-request-id": "it is swordfish"}
    upstream.headers |= {"x-ratelimit-limit-requests": "swordfish", "x-swordfish": "1"}
    status, _, headers = await serve(Line(), upstream, {**ASKED, "stream": stream}, headed=True)
    assert (status, headers[b"retry-after"]) == (200, b"7")
    assert b"swordfish" not in b"".join((*headers, *headers.values()))


async def test_without_a_judge_a_stream_passes_as_it_came():
    line = Line()
    pieces = streamed({"content": "forbidden secret"})
    _, body = await serve(line, Upstream("text/event-stream", *pieces), {**ASKED, "stream": True})
    assert body == b"".join(pieces)
    assert line.seen[0][1].size == len(body)


async def test_the_calls_of_an_answer_are_remembered_as_the_client_sees_them():
    def answer(arguments):
        call = {**CALL, "function": {"name": "f", "arguments": arguments}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        return {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}

    line = Line(payload=answer('{"to":"***"}'))
    upstream = Upstream("application/json", encode(answer('{"to":"secret"}')))
    _, body = await serve(line, upstream, ASKED)
    assert b"secret" not in body
    assert [entry[0] for entry in line.seen] == ["result", "remember"]
    assert line.seen[1][1].proposals[0].arguments == '{"to":"***"}'


@pytest.mark.parametrize("stream", [False, True])
async def test_instructions_that_the_gate_added_do_not_come_back(stream):
    asked = {"model": "gpt", "input": "x", "instructions": "theirs", "stream": stream}
    line = Line(sent={**asked, "instructions": "theirs\n\nours"})
    response = {"output": [], "status": "completed", "instructions": "theirs\n\nours"}
    upstream = Upstream("application/json", encode(response))
    if stream:
        event = {"type": "response.completed", "sequence_number": 0, "response": response}
        upstream = Upstream("text/event-stream", b"data: " + encode(event) + b"\n\n")
    _, body = await serve(line, upstream, asked, "/v1/responses")
    assert b"ours" not in body
    assert b'"instructions":"theirs"' in body


@pytest.mark.parametrize(
    ("kind", "body"), [("text/html", b"<p>busy: secret"), ("text/plain", b"secret")]
)
async def test_an_error_without_json_keeps_its_status_so_that_clients_try_again(kind, body):
    upstream = Upstream(kind, body)
    upstream.status = 503
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    line = Line()
    status, said = await serve(line, upstream, asked)
    assert status == 503
    assert b"secret" not in said
    assert json.loads(said)["error"]["code"] == "PC5003"
    what, result, _ = line.seen[0]
    assert (what, result.is_error) == ("result", True)


@pytest.mark.parametrize(("count", "kept"), [(MAX_FINDINGS - 1, True), (MAX_FINDINGS, False)])
async def test_where_more_was_found_than_is_told_nothing_of_the_stream_is_kept(count, kept):
    judge = Judge()
    judge.findings = (Finding(type="MAIL", where="x", treatment="mask"),) * count
    line = Line(judge)
    line.records.streamed = lambda _: Streamed(Room())
    upstream = Upstream("text/event-stream", *streamed({"content": "Fine."}))
    await serve(line, upstream, {**ASKED, "stream": True})
    (result,) = [seen[1] for seen in line.seen if seen[0] == "result"]
    assert bool(result.streamed) is kept
    assert b"Fine." in b"".join(result.streamed.values()) or not kept


async def test_what_nobody_judges_is_gathered_as_it_came():
    line = Line()
    line.records.streamed = lambda _: Streamed(Room())
    call = {"tool_calls": [{"index": 0, **CALL}]}
    pieces = streamed({"content": "Fi"}, {"content": "ne."}, call, finish="tool_calls")
    await serve(line, Upstream("text/event-stream", *pieces), {**ASKED, "stream": True})
    (result,) = [seen[1] for seen in line.seen if seen[0] == "result"]
    answer = json.loads(result.streamed["result"])
    assert answer["texts"] == {"choices[0].message.content": "Fine."}
    assert answer["calls"] == [{"name": "f", "arguments": '{"to":"secret"}'}]
