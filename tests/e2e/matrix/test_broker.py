"""If these fail, an agent gets hold of a credential that only the gate may have."""

import hashlib
import json

import aiohttp
import pytest

from e2e.matrix.cells import ALL, cells

pytestmark = pytest.mark.anyio


def key_of(route):
    deployment = route.deployment
    return deployment.provider.key if route.name.startswith("llm-") else deployment.peer.key


@cells("broker", "request", *ALL)
async def test_the_upstream_gets_the_gates_credential_and_never_the_agents(route, deployment):
    seen = await route.scripted("plain") if route.name != "llm-stream" else await probe(route)
    assert seen.passed
    assert key_of(route) not in f"{seen.text} {seen.headers} {seen.pieces}"
    arrived = route.upstream_saw()
    assert arrived
    assert route.token not in repr(arrived)
    if route.name == "mcp-stdio":
        started = arrived[0]["message"]
        assert "PORTCULLIS_TOKEN" not in started["environment"]
        assert started["key"] == hashlib.sha256(key_of(route).encode()).hexdigest()
        return
    assert key_of(route) in repr(arrived[-1])
    assert await alone(route, deployment, route.token) == 401
    assert await alone(route, deployment, key_of(route)) == 200


async def probe(route):
    return await route.ask("probe:headers")


async def alone(route, deployment, token):
    """The status that the upstream itself answers this credential with."""
    config = deployment.configured()
    mcp = route.name.startswith("mcp-")
    url = config["mcp"]["peer"]["url"] if mcp else config["models"]["probe-openai"]["url"]
    path = "" if mcp else "/v1/chat/completions"
    headers = {"authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(url + path, json=json.loads(route.body())) as answer,
    ):
        return answer.status


@cells("broker", "result", *ALL)
async def test_an_answer_with_the_credential_in_it_is_withheld(route, recorded):
    plain = await route.scripted("plain")
    assert plain.code == ""
    seen = await route.scripted("reflect")
    assert seen.code == "PC5005"
    assert key_of(route) not in f"{seen.text} {seen.headers}"
    await recorded("PC5005")


@cells("broker", "stream", *ALL)
async def test_a_stream_ends_before_the_credential_in_it_is_out(route, recorded):
    assert (await route.scripted("pieces")).passed
    seen = await route.scripted("pieces-reflect")
    assert seen.code == "PC5005"
    said = f"{seen.text} {''.join(seen.pieces)}"
    assert key_of(route) not in said
    assert key_of(route)[:-2] not in said
    await recorded("PC5005")
    values = [event for event in route.events() if key_of(route) in repr(event)]
    assert values == []
