"""If these fail, nobody can tell what a model said to an agent, or more of it lies on disk."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from typer.testing import CliRunner

import needles
import standins
from e2e.inspection.desk import APIS, Desk, desks
from portcullis.cli.audit import app
from portcullis.core.errors import Problem

pytestmark = pytest.mark.anyio

KEEP = {"content": {"keep": "arguments+results"}}
WORDS = "The parcel lies at the depot in Bergen — and “waits” there for whoever asks."


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def desk(tmp_path_factory, anyio_backend):
    async with desks(tmp_path_factory.mktemp("desk"), audit=KEEP) as made:
        yield made


async def shown(desk: Desk, event: str) -> dict[str, Any]:
    """What ``audit content`` prints: the exit code, and the fields by their names."""

    def run() -> dict[str, Any]:
        words = ["content", event, "--reason", "a complaint", "--json"]
        done = CliRunner().invoke(app, [*words, "--config", str(desk.stage.config)])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        lines = map(json.loads, done.stdout.splitlines())
        return {"code": done.exit_code} | {line["field"]: line for line in lines}

    return await asyncio.to_thread(run)


async def kept(desk: Desk, event: Any) -> dict[str, Any]:
    """What ``shown`` has, once it is on disk."""
    for _ in range(1500):
        with contextlib.suppress(Problem):
            return await shown(desk, event.id)
        await asyncio.sleep(0.02)
    raise AssertionError("it was not kept")


async def answered(desk: Desk, event: Any) -> Any:
    """The answer that was kept."""
    found = await kept(desk, event)
    assert found.keys() == {"code", "result"}
    assert found["code"] == 0
    assert found["result"]["committed"]
    assert event.commitments.keys() == {"result"}
    return json.loads(found["result"]["value"])


async def last_result(desk: Desk, after: int) -> Any:
    """The result of the next model call, once the log has it."""
    for _ in range(1500):
        events = [event for event in desk.stage.events() if event.type == "llm_result"]
        if len(events) > after:
            return events[-1]
        await asyncio.sleep(0.02)
    raise AssertionError("no result")


def results(desk: Desk) -> int:
    return sum(event.type == "llm_result" for event in desk.stage.events())


@pytest.mark.parametrize("api", APIS)
async def test_a_streamed_answer_is_shown_as_the_client_got_it(desk: Desk, api: str) -> None:
    before = results(desk)
    said = await desk.ask(await desk.token("plain"), api, "crumbs", WORDS, stream=True)
    assert said.text == WORDS
    assert len(said.pieces) > 9
    event = await last_result(desk, before)
    assert event.route == "llm-stream"
    answer = await answered(desk, event)
    assert WORDS in answer["texts"].values()
    assert WORDS not in str(answer.get("others"))


@pytest.mark.parametrize("api", APIS)
async def test_a_streamed_tool_call_is_shown_with_its_arguments(desk: Desk, api: str) -> None:
    before = results(desk)
    calls = [{"name": "tickets__list", "arguments": {"customer_id": "C-1001"}}]
    said = await desk.ask(
        await desk.token("plain"), api, "call", json.dumps(calls), stream=True, **tools(api)
    )
    assert len(said.calls) == 1
    answer = await answered(desk, await last_result(desk, before))
    found = [(call["name"], json.loads(call["arguments"])) for call in answer["calls"]]
    assert found == said.calls


def tools(api: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"customer_id": {"type": "string"}}}
    if api == "messages":
        return {"tools": [{"name": "tickets__list", "input_schema": schema}]}
    function = {"name": "tickets__list", "parameters": schema}
    if api == "responses":
        return {"tools": [{"type": "function", **function}]}
    return {"tools": [{"type": "function", "function": function}]}


@pytest.mark.parametrize("api", APIS)
async def test_a_secret_that_was_masked_in_a_stream_is_masked_in_what_is_kept(
    desk: Desk, api: str
) -> None:
    before, token = results(desk), needles.token()
    said = await desk.ask(
        await desk.token("masking"), api, "crumbs", f"{WORDS} It is {token}.", stream=True
    )
    assert token not in said.text
    event = await last_result(desk, before)
    assert any(":mask@" in found for found in event.findings)
    answer = await answered(desk, event)
    assert said.text in answer["texts"].values()
    assert token not in str(answer)
    assert "ghp_" not in str(answer)


@pytest.mark.parametrize("api", APIS)
async def test_of_a_stream_that_inspection_ended_nothing_is_kept(desk: Desk, api: str) -> None:
    before = results(desk)
    text = f"{WORDS * 9} It is {needles.token()}. And so on. {WORDS}"
    said = await desk.ask(await desk.token("blocking"), api, "crumbs", text, stream=True)
    assert said.code == "PC3021"
    event = await last_result(desk, before)
    assert (event.verdict, event.code) == ("deny", "PC3021")
    assert not event.commitments
    await desk.ask(await desk.token("plain"), api, "say", "the next", stream=True)
    await answered(desk, await last_result(desk, before + 1))  # what came before it is written too
    with pytest.raises(Problem, match="PC6041"):
        await shown(desk, event.id)


async def test_of_a_stream_that_broke_off_nothing_is_kept(desk: Desk) -> None:
    before = results(desk)
    token = await desk.token("plain")
    await asyncio.gather(
        desk.ask(token, "messages", "end-early", WORDS, stream=True), return_exceptions=True
    )
    event = await last_result(desk, before)
    assert event.verdict == "error"
    assert not event.commitments


async def test_of_an_answer_that_is_too_long_a_note_is_kept_that_it_was(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portcullis.gateway.streamed.MAX_STREAM", 2000)
    before = results(desk)
    said = await desk.ask(await desk.token("plain"), "chat", "crumbs", WORDS * 40, stream=True)
    assert said.text == WORDS * 40
    event = await last_result(desk, before)
    found = await kept(desk, event)
    assert found.keys() == {"code", "result.left_out"}
    assert found["result.left_out"]["value"] == '"longer than 2000 bytes"'
    assert found["result.left_out"]["committed"]


async def test_what_is_streamed_is_not_kept_where_results_are_not(tmp_path) -> None:
    settings = {"audit": {"content": {"keep": "arguments"}}}
    async with standins.staged(tmp_path, settings=settings) as stage:
        token = await standins.agent_token(stage)
        async with standins.openai_client(stage, token) as client:
            messages = [{"role": "user", "content": WORDS}]
            async for _ in await client.chat.completions.create(
                model="gpt-standin:say", messages=messages, stream=True
            ):
                pass
        event = await standins.eventually(stage, lambda e: e.type == "llm_result")
        assert not event.commitments
