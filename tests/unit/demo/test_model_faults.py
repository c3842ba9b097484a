"""Each directive spoils the answer as it says: a test of a gate that uses it tests something."""

import json
import re
import time

import anthropic
import httpx2
import openai
import pytest

from portcullis.demo.model import DIRECTIVES

pytestmark = pytest.mark.anyio

TEXT = "one two three four five six seven eight"
SAY = [{"role": "user", "content": TEXT}]
STREAMS = {
    "/v1/chat/completions": {"model": "gpt-standin", "messages": SAY, "stream": True},
    "/v1/responses": {"model": "gpt-standin", "input": TEXT, "stream": True},
    "/v1/messages": {
        "model": "claude-standin",
        "max_tokens": 9,
        "messages": SAY,
        "stream": True,
    },
}
TERMINAL = {
    "/v1/chat/completions": b"data: [DONE]",
    "/v1/responses": b"event: response.completed",
    "/v1/messages": b"event: message_stop",
}


@pytest.fixture
async def http(model_url, credential):
    headers = {"authorization": f"Bearer {credential}"}
    async with httpx2.AsyncClient(base_url=model_url, headers=headers, timeout=5) as client:
        yield client


def asking(path: str, directive: str, **other) -> dict:
    body = STREAMS[path] | other
    return body | {"model": f"{body['model']}:{directive}"}


@pytest.mark.parametrize("path", STREAMS)
async def test_die_mid_stream_breaks_the_connection(http, path):
    with pytest.raises(httpx2.RemoteProtocolError):
        await http.post(path, json=asking(path, "die-mid-stream"))
    with pytest.raises(httpx2.RemoteProtocolError):
        await http.post(path, json=asking(path, "die-mid-stream", stream=False))


@pytest.mark.parametrize("path", STREAMS)
async def test_end_early_is_a_proper_body_without_its_last_event(http, path):
    early = await http.post(path, json=asking(path, "end-early"))
    proper = await http.post(path, json=asking(path, "say"))
    assert TERMINAL[path] not in early.content
    assert TERMINAL[path] in proper.content


@pytest.mark.parametrize("path", STREAMS)
async def test_unknown_things_appear_in_streams_and_in_whole_answers(http, path):
    streamed = await http.post(path, json=asking(path, "unknown-event"))
    whole = await http.post(path, json=asking(path, "unknown-item", stream=False))
    assert b"mystery" in streamed.content
    assert TERMINAL[path] in streamed.content
    assert "mystery" in json.dumps(whole.json())


@pytest.mark.parametrize("path", STREAMS)
async def test_malformed_is_not_json(http, path):
    whole = await http.post(path, json=asking(path, "malformed", stream=False))
    with pytest.raises(json.JSONDecodeError):
        json.loads(whole.content)
    streamed = await http.post(path, json=asking(path, "malformed"))
    assert b'data: {"half\n' in streamed.content


@pytest.mark.parametrize("path", STREAMS)
async def test_reflect_directives_show_what_arrived(http, path, credential):
    shown = await http.post(
        path, json=asking(path, "reflect-headers", stream=False), headers={"x-marker": "seen"}
    )
    assert "x-marker" in shown.text
    assert credential not in shown.text
    given = await http.post(path, json=asking(path, "reflect-credential", stream=False))
    assert credential in given.text
    in_head = await http.post(path, json=asking(path, "reflect-credential-header"))
    assert in_head.headers["x-reflected"] == credential


async def test_stall_and_silent_leave_the_client_waiting(http):
    path = "/v1/chat/completions"
    for directive in ("stall", "silent"):
        with pytest.raises(httpx2.ReadTimeout):
            await http.post(path, json=asking(path, directive), timeout=0.3)


async def test_slow_takes_its_time_between_events(gpt):
    stream = await gpt.chat.completions.create(model="gpt-standin:slow", messages=SAY, stream=True)
    arrivals = [time.monotonic() async for _ in stream]
    assert arrivals[-1] - arrivals[0] > 0.3


async def test_error_directives_raise_in_the_official_clients(gpt, claude):
    with pytest.raises(openai.RateLimitError) as limited:
        await gpt.chat.completions.create(model="gpt-standin:error-429", messages=SAY)
    assert limited.value.response.headers["retry-after"] == "7"
    with pytest.raises(anthropic.InternalServerError):
        await claude.messages.create(model="claude-standin:error-500", max_tokens=9, messages=SAY)
    stream = await gpt.chat.completions.create(
        model="gpt-standin:error-mid-stream", messages=SAY, stream=True
    )
    with pytest.raises(openai.APIError):
        _ = [chunk async for chunk in stream]
    with pytest.raises(anthropic.APIStatusError):
        async with claude.messages.stream(
            model="claude-standin:error-mid-stream", max_tokens=9, messages=SAY
        ) as events:
            await events.get_final_message()


async def test_bodies_that_no_json_client_expects(http):
    path = "/v1/chat/completions"
    page = await http.post(path, json=asking(path, "html", stream=False))
    assert page.headers["content-type"] == "text/html"
    packed = await http.post(path, json=asking(path, "gzip", stream=False))
    assert packed.headers["content-encoding"] == "gzip"
    moved = await http.post(path, json=asking(path, "redirect"))
    assert moved.status_code == 307
    sweet = await http.post(path, json=asking(path, "cookie", stream=False))
    assert "standin=1" in sweet.headers["set-cookie"]
    assert sweet.headers["x-hop"]
    broken = await http.post(path, json=asking(path, "broken-arguments", stream=False))
    arguments = broken.json()["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    with pytest.raises(json.JSONDecodeError):
        json.loads(arguments)


async def test_cut_bytes_arrives_whole_and_huge_is_huge(http):
    path = "/v1/chat/completions"
    cut = await http.post(path, json=asking(path, "cut-bytes", stream=False))
    assert cut.json()["object"] == "chat.completion"
    huge = await http.post(path, json=asking(path, "huge", stream=False))
    assert len(huge.content) > 32 * 2**20


@pytest.mark.parametrize("path", STREAMS)
async def test_crumbs_are_the_users_words_in_pieces_that_cut_them(http, path):
    said = await http.post(path, json=asking(path, "crumbs"))
    for crumb in (b'"one"', b'" tw"', b'"o t"'):
        assert crumb in said.content
    whole = await http.post(path, json=asking(path, "crumbs", stream=False))
    assert TEXT in whole.text


async def test_leak_says_something_that_looks_like_a_token(http):
    path = "/v1/chat/completions"
    said = (await http.post(path, json=asking(path, "leak", stream=False))).json()
    assert re.search(r"\bghp_[0-9a-f]{36}\b", said["choices"][0]["message"]["content"])


async def test_requests_that_it_cannot_read_get_an_error_and_no_crash(http):
    for path in STREAMS:
        for body in ({}, {"model": 1}, {"model": "x", "messages": [1], "input": [1]}, []):
            answer = await http.post(path, json=body)
            assert answer.status_code == 400
            assert answer.json()["error"]
    assert (await http.get("/v1/files")).status_code == 404


def test_every_directive_is_described():
    assert all(DIRECTIVES.values())
