"""Limits, with the official clients: if these fail, money and data go that were not given."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import anthropic
import openai
import pytest
from mcp import MCPError
from prometheus_client import generate_latest

import standins
from portcullis import bootstrap
from portcullis.bootstrap import SystemClock
from portcullis.config import load
from portcullis.core.principal import PrincipalKind
from portcullis.store.counters_redis import RedisCounter
from portcullis.store.counters_sqlite import SharedCounter
from redis_servers import redis_server

ASK = [{"role": "user", "content": "Say something short."}]
PRICES = {
    "version": 1,
    "models": [{"model": "gpt-standin*", "input": 100, "output": 1000}],
}
"""Dollars for a million tokens: 100 and 1000 millionths for each."""
WORKERS = ("paced", "saver", "crowd", "unknown", "chatty", "miner", "sleeper", "burner", "free")
LIMITS = """
limits:
  pace: {for: {agent: paced}, requests: {rate: 60/minute, burst: 2}}
  money: {for: {agent: saver}, cost: [0.5 USD/day, 0.2 USD/session]}
  few: {for: {agent: crowd}, concurrency: 2}
  unpriced: {for: {agent: unknown}, cost: 1000 USD/month}
  words: {for: {agent: chatty}, tokens: {total: 2000/day, output: 500/day}}
  house: {for: {agent: chatty}, per: all, requests: 1000/minute}
  rows: {for: {agent: miner, tool: orders.*}, rows: 3/day}
  burn: {for: {agent: burner}, cost: 20 USD/month, burn: 2}
"""

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@dataclass(frozen=True)
class Working:
    stage: standins.Stage
    tokens: dict[str, str]
    sessions: dict[str, str]
    application: str

    def gpt(self, agent, **more):
        client = standins.openai_client(self.stage, self.tokens[agent])
        return client.with_options(**more) if more else client

    def claude(self, agent):
        return standins.anthropic_client(self.stage, self.tokens[agent])

    async def say(self, agent, words="hello", **more):
        """What a call came to: the code that it was refused with, or the usage."""
        async with self.gpt(agent) as client:
            try:
                made = await client.chat.completions.create(
                    model="gpt-standin:say",
                    messages=[{"role": "user", "content": words}],
                    **{"max_tokens": 20} | more,
                )
            except openai.APIStatusError as error:
                return error.code
        return made.usage


def policy():
    text = standins.support_policy()
    agents = "".join(f"\n  {name}: {{role: support_agent}}" for name in WORKERS)
    return text.replace("\nroles:", f"{agents}\n\nroles:\n", 1) + LIMITS


@pytest.fixture(scope="module")
async def working(tmp_path_factory, anyio_backend):
    folder = tmp_path_factory.mktemp("limits")
    (folder / "prices.json").write_text(json.dumps(PRICES))
    settings = {"prices": "prices.json", "guard": {"program": {}}}
    async with standins.staged(folder, policy=policy(), settings=settings) as stage:
        application = await stage.register(PrincipalKind.APPLICATION, "limits")
        tokens, sessions = {}, {}
        for name in WORKERS:
            await stage.register(PrincipalKind.AGENT, name)
            sessions[name], tokens[name] = await stage.open_session(
                application, name, subject=standins.SUBJECT
            )
        yield Working(stage, tokens, sessions, application)


async def left(working, *words):
    """What the command line says is left."""
    command = [sys.executable, "-c", "from portcullis.cli import main; main()", "limit"]
    said = await asyncio.to_thread(
        subprocess.run,
        [*command, *words, "--json", "-c", str(working.stage.config)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return [json.loads(line) for line in said.stdout.splitlines()]


async def counted(working, key):
    """What is counted under keys that begin so, once all is settled."""
    counter = SharedCounter(working.stage.config.parent / "state/limits.db", SystemClock())
    page = await counter.page(key, 50)
    await counter.close()
    return {used.key: used.value for used in page if used.key.startswith(key) and used.value}


async def test_the_clients_see_their_rate_and_wait_as_they_are_told(working):
    async with working.gpt("paced") as client:
        raw = client.chat.completions.with_raw_response
        first = await raw.create(model="gpt-standin", messages=ASK)
        told = first.headers
        assert told["ratelimit-policy"] == '"pace:requests:60";q=60;w=60'
        assert re.fullmatch(r'"pace:requests:60";r=1;t=[12]', told["ratelimit"])
        assert told["x-ratelimit-limit-requests"] == "60"
        assert told["x-ratelimit-remaining-requests"] == "1"
        assert told["x-ratelimit-reset-requests"] in {"1s", "2s"}
        stream = await raw.create(model="gpt-standin", messages=ASK, stream=True)
        assert stream.headers["x-ratelimit-remaining-requests"] == "0"
        with pytest.raises(openai.RateLimitError) as refused:
            await raw.create(model="gpt-standin", messages=ASK)
        answer = refused.value.response
        assert refused.value.code == "PC3070"
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["ratelimit"] == '"pace:requests:60";r=0;t=1'
        assert answer.headers["x-should-retry"] == "true"
        body = answer.json()["error"]
        assert (body["limit"], body["measure"]) == ("pace", "requests")
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["resets_at"])
        assert body["hint"]
    began = time.monotonic()
    async with working.gpt("paced", max_retries=2) as patient:
        again = await patient.chat.completions.create(model="gpt-standin", messages=ASK)
    assert again.choices[0].message.content
    assert time.monotonic() - began > 0.3
    async with working.claude("paced") as claude:
        asking = (
            claude.messages.create(model="claude-standin", max_tokens=5, messages=ASK)
            for _ in range(4)
        )
        said = await asyncio.gather(*asking, return_exceptions=True)
    refusal = next(one for one in said if isinstance(one, anthropic.RateLimitError))
    assert "PC3070" in str(refusal)
    told = refusal.response.headers
    assert told["anthropic-ratelimit-requests-remaining"] == "0"
    assert told["anthropic-ratelimit-requests-reset"].startswith("20")
    assert told["retry-after"] == "1"


async def test_parallel_calls_never_overspend_and_are_settled_by_usage(working):
    async with working.gpt("saver") as client:
        free = client.embeddings
        with pytest.raises(openai.PermissionDeniedError) as unknown:
            await free.create(model="text-embedding-standin", input=["one"])
        assert unknown.value.code == "PC3074"
    said = await asyncio.gather(*(working.say("saver") for _ in range(24)))
    went = [one for one in said if not isinstance(one, str)]
    assert {one for one in said if isinstance(one, str)} == {"PC3071"}
    spent = sum(one.prompt_tokens * 100 + one.completion_tokens * 1000 for one in went)
    assert 0 < spent <= 200_000
    used = [one async for one in settled(working, "money|cost.session", spent)]
    assert used, "what was reserved and not used came back"
    rows = await left(working, "show", "money")
    assert {(one["window"], one["used"], one["ceiling"]) for one in rows} == {
        ("session", spent, 200_000),
        ("day", spent, 500_000),
    }
    assert {one["whose"]["agent"] for one in rows} == {"saver"}
    assert all(one["left"] == one["ceiling"] - spent for one in rows)
    assert await left(working, "list", "--agent", "saver") == rows
    headers = {"authorization": f"Bearer {working.application}"}
    url = f"{working.stage.gate.gate_url}/v1/sessions/{working.sessions['saver']}"
    async with aiohttp.ClientSession(headers=headers) as http, http.get(url) as answer:
        shown = (await answer.json())["limits"]
    assert [(one["limit"], one["window"], one["used"]) for one in shown] == [
        ("money", "session", spent)
    ]
    big = await working.say("saver", max_tokens=100_000)
    assert big == "PC3078", "the call alone is too much: no time will make it fit"


async def settled(working, key, value):
    for _ in range(1500):
        found = await counted(working, key)
        if value in found.values():
            yield found
            return
        await asyncio.sleep(0.02)


async def test_only_so_many_at_once(working):
    async with working.gpt("crowd") as client:
        waiting = [
            asyncio.create_task(
                client.chat.completions.create(model="gpt-standin:silent", messages=ASK)
            )
            for _ in range(2)
        ]
        for _ in range(1500):
            if sum(await counts(working, "few|")) == 2:
                break
            await asyncio.sleep(0.02)
        assert await working.say("crowd") == "PC3072"
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for _ in range(1500):
            if not isinstance(said := await working.say("crowd"), str):
                break
            await asyncio.sleep(0.02)
        assert not isinstance(said, str), "who has left makes room"


async def counts(working, key):
    return (await counted(working, key)).values()


async def test_tokens_are_counted_and_streams_too(working):
    async with working.gpt("chatty") as client:
        raw = client.chat.completions.with_raw_response
        made = await raw.create(model="gpt-standin:say", messages=ASK, max_tokens=50, stream=True)
        told = made.headers
        assert '"words:tokens:86400";q=2000;w=86400;qu="tokens"' in told["ratelimit-policy"]
        assert '"house:requests:60";q=1000;w=60' in told["ratelimit-policy"]
        assert "house" not in told["ratelimit"], "what others use of it is not shown"
        assert int(told["x-ratelimit-limit-tokens"]) == 500
        pieces = [piece async for piece in made.parse()]
        assert all(piece.usage is None for piece in pieces), "usage was not asked for"
        async for found in settled(working, "words|output_tokens", 5):
            assert found
        assert await working.say("chatty", max_tokens=600) == "PC3078"
        assert await working.say("chatty", "x" * 6000) == "PC3078"
        for _ in range(30):
            said = await working.say("chatty", "word " * 60, max_tokens=90)
        assert said == "PC3071"


async def test_a_limited_answer_without_a_maximum_gets_the_one_that_is_reserved(working):
    seen = working.stage.model.seen
    for agent, named in (("unknown", 4096), ("free", None)):
        said = await working.say(agent, max_tokens=openai.omit)
        assert not isinstance(said, str), said
        assert json.loads(seen[-1].body).get("max_completion_tokens") == named


async def test_a_model_whose_name_is_a_book_costs_nobody_any_time(working):
    async with working.gpt("free") as client:
        name = "gpt-standin" + "-x" * 10**6
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(model=name, messages=ASK)
    assert refused.value.code == "PC1020"
    assert len(str(refused.value)) < 1000


async def test_an_unreachable_upstream_takes_nothing(working):
    before = await counted(working, "money|")
    stage = working.stage
    body = {"model": "gpt-standin:error-500", "messages": ASK, "max_tokens": 5}
    async with working.gpt("saver", max_retries=2) as client:
        with pytest.raises(openai.APIStatusError):
            await client.chat.completions.create(**body)
    await asyncio.sleep(0.1)
    assert await counted(working, "money|") == before, "a provider that fails is not paid"
    assert stage.model.seen


async def test_rows_of_results_are_counted_before_they_go_on(working):
    refused = []
    for _ in range(4):
        async with standins.mcp_client(working.stage, "orders", working.tokens["miner"]) as client:
            try:
                assert not (await client.call_tool("search", {"customer_id": "C-1001"})).is_error
            except MCPError as error:
                refused.append(error.error)
    assert 0 < len(refused) < 4
    said = refused[-1].data
    assert said["code"] in {"PC3077", "PC3071"}
    assert (said["limit"], said["measure"]) == ("rows", "rows")
    assert 0 < said["retry_after"] <= 86400
    used = list(await counts(working, "rows|rows.day"))
    assert len(used) == 1
    assert used[0] <= 3


async def test_who_spends_a_month_in_an_hour_is_stopped(working):
    for _ in range(10):
        said = await working.say("burner", "word " * 100, max_tokens=300)
        if isinstance(said, str):
            break
        await asyncio.sleep(0.05)
    assert said == "PC5023", "the agent's breaker is open"
    assert not isinstance(await working.say("free"), str)


async def test_figures_have_the_names_of_limits_and_of_nobody(working):
    assert "PC3070" in await asyncio.gather(*(working.say("paced") for _ in range(5)))
    text = generate_latest(working.stage.gate.registry).decode()
    found = set(re.findall(r"portcullis_limit_refusals_total\{([^}]*)\}", text))
    assert 'limit="pace",measure="requests"' in found
    assert "saver" not in "".join(found)


async def test_a_budget_that_is_used_up_is_so_after_a_restart(tmp_path):
    (tmp_path / "prices.json").write_text(json.dumps(PRICES))
    for via in ("sqlite", "memory"):
        folder = tmp_path / via
        folder.mkdir()
        settings = {"prices": "../prices.json", "counters": {"via": via}}
        text = policy() + "  once: {for: {agent: sleeper}, tokens: {total: 400/month}}\n"
        async with standins.staged(folder, policy=text, settings=settings) as stage:
            one = Working(stage, {}, {}, "")
            one.tokens["sleeper"] = await standins.agent_token(stage, "sleeper")
            one.tokens["free"] = await standins.agent_token(stage, "free", application="other")
            while not isinstance(said := await one.say("sleeper", "word " * 20), str):
                continue
            assert said in {"PC3071", "PC3078"}
        async with bootstrap.running_gate(load(stage.config)) as gate:
            again = replace(one, stage=replace(stage, gate=gate))
            assert await again.say("sleeper", "word " * 20) == said
            assert await again.say("free") == "PC5001", "whose upstream is gone"


@pytest.mark.skipif(not shutil.which("redis-server"), reason="needs Debian's redis-server")
async def test_what_a_server_counts_is_denied_while_it_is_away(tmp_path):
    folder = Path(tempfile.mkdtemp(prefix="pc-"))  # a socket's path is short
    (tmp_path / "url").touch(mode=0o600)
    settings = {"counters": {"via": "redis", "url": "file:url"}}
    with redis_server(folder) as url:
        (tmp_path / "url").write_text(url)
        async with standins.staged(tmp_path, policy=policy(), settings=settings) as stage:
            one = Working(stage, {}, {}, "")
            one.tokens["chatty"] = await standins.agent_token(stage, "chatty")
            one.tokens["free"] = await standins.agent_token(stage, "free", application="other")
            took = (await one.say("chatty")).total_tokens
            await asyncio.sleep(0.1)
            counter = RedisCounter(url, "demo.portcullis.example", SystemClock())
            used = {used.key.rpartition("|")[0]: used.value for used in await counter.page("", 50)}
            assert used["words|tokens.day|agent=chatty"] == took
            await counter.close()
            ending = await asyncio.create_subprocess_exec(
                *("redis-cli", "-s", url[7:], "shutdown", "nosave")
            )
            await ending.wait()
            assert await one.say("chatty") == "PC3073"
            assert not isinstance(await one.say("free"), str), "of whom no limit is"
    shutil.rmtree(folder)
