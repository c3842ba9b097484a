"""The API reference knows every route, so that nobody has to read the source to find one."""

import re
from pathlib import Path

import aiohttp
import pytest

import standins
from portcullis.bootstrap import authority_of
from portcullis.config import load
from portcullis.core.principal import PrincipalKind

REFERENCE = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.anyio

SETTINGS = {
    "decisions": {"askers": ["helpdesk"]},
    "mcp": {
        "drive": {
            "url": "http://127.0.0.1:9/mcp",
            "oauth": {"issuer": "http://127.0.0.1:9", "client_id": "portcullis"},
        }
    },
}
"""With an upstream at which users act for themselves, and an asker: everything is served."""


async def test_every_route_of_the_control_plane_is_in_the_reference_and_no_other(tmp_path):
    async with standins.staged(tmp_path / "stage", settings=SETTINGS) as stage:
        authority = authority_of(load(stage.config))
        token = authority.mint(PrincipalKind.OPERATOR, "local-test", ttl=60, roles=("viewer",))
        headers = {"authorization": f"Bearer {token.token}"}
        async with (
            aiohttp.ClientSession(stage.gate.control_url, headers=headers) as http,
            http.get("/api/v1/openapi.json") as answer,
        ):
            found = (await answer.json())["paths"]
    served = {f"{verb.upper()} {path}" for path, verbs in found.items() for verb in verbs}
    section = REFERENCE.partition("## On the control plane")[2]
    told = set(re.findall(r"^\| `([A-Z]+ [^`\[]+)", section, re.MULTILINE))
    assert told == served | {"POST /hooks/slack/{name}"}  # a chat server's, not in the description


async def test_the_routes_of_the_gate_that_the_reference_tells_of_are_there(tmp_path):
    section = REFERENCE.partition("## On the gate")[2].partition("## On the control plane")[0]
    told = re.findall(r"^\| `([A-Z]+) ([^`\[]+)", section, re.MULTILINE)
    assert len(told) == 20
    async with standins.staged(tmp_path / "stage", settings=SETTINGS) as stage:
        token = await stage.register(PrincipalKind.APPLICATION, "helpdesk")
        headers = {"authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(stage.gate.gate_url, headers=headers) as http:
            for verb, path in [*told, ("GET", "/v1/nothing")]:
                async with http.request(verb, path.replace("{id}", "abc")) as answer:
                    unknown = answer.status == 405 or "PC1010" in await answer.text()
                    assert unknown is (path == "/v1/nothing"), (verb, path, answer.status)
