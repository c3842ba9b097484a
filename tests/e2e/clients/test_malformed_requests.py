"""Hundreds of spoilt requests per operation through a running gate, by bytes and by structure.

If these fail, bad input makes the gate fail, hang, or leave no record.
"""

import asyncio
import copy
import json
import random

import aiohttp
import pytest

from golden.llm.vectors import VECTORS
from standins import agent_token, staged

pytestmark = pytest.mark.anyio

PER_OPERATION = 220
ODD = [None, True, -1, 2**63 - 1, 1.5, "", "\u202e", "x" * 5000, [], {}, [[]], {"type": "x"}]


def places(value, path=()):
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from places(item, (*path, at))


def spoilt(source, value):
    """A structure with one member replaced, removed, added or renamed."""
    value = copy.deepcopy(value)
    *way, last = source.choice(list(places(value)))
    holder = value
    for step in way:
        holder = holder[step]
    act = source.choice(["replace", "remove", "add", "wrap"])
    if act == "replace":
        holder[last] = source.choice(ODD)
    elif act == "remove":
        del holder[last]
    elif act == "add" and isinstance(holder, dict):
        holder[source.choice(["x", "type", "__proto__", "file_id", "\u0131d"])] = source.choice(ODD)
    else:
        holder[last] = [holder[last]]
    return json.dumps(value).encode()


def mangled(source, body):
    """Bytes with a piece cut out, doubled, or overwritten with noise."""
    at = source.randrange(len(body))
    to = min(len(body), at + source.randrange(1, 30))
    noise = source.choice([b"", b"\x00", b"\xff\xfe", b'","a":1,"a":2', b"[" * 80, b"\\u0000"])
    return body[:at] + noise + body[to:] if source.random() < 0.7 else body[:to] + body[at:]


@pytest.fixture
async def stage(tmp_path):
    async with staged(tmp_path) as running:
        yield running


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
async def test_malformed_model_requests(stage, vector):
    token = await agent_token(stage)
    api, method, path = vector.data["operation"]
    request = vector.data["request"] | {
        "model": {"anthropic": "claude-standin", "openai": "gpt-standin"}[api]
    }
    source = random.Random(vector.name)
    good = json.dumps(request).encode()
    seen = {}
    gate = asyncio.Semaphore(16)

    async def send(http, number):
        body = spoilt(source, request) if number % 2 else mangled(source, good)
        trace = f"{number + 1:032x}"
        headers = {
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "traceparent": f"00-{trace}-{'1' * 16}-01",
        }
        async with (
            gate,
            http.request(
                method, f"{stage.gate.gate_url}/{api}{path}", data=body, headers=headers
            ) as answer,
        ):
            seen[trace] = (answer.status, await answer.text(), body)

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        await asyncio.gather(*(send(http, number) for number in range(PER_OPERATION)))
    for _ in range(1500):
        recorded = {event.trace_id for event in stage.events()}
        if recorded >= set(seen):
            break
        await asyncio.sleep(0.02)
    assert set(seen) <= recorded, "a request left no record"
    refused = 0
    for status, text, body in seen.values():
        assert status < 500 or '"PC5' in text, (status, text, body)
        assert "PC9" not in text, (status, text, body)
        refused += status in {400, 403}
    assert refused > PER_OPERATION / 3
