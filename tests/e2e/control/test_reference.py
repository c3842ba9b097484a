"""The API reference knows every route, so that nobody has to read the source to find one."""

import re
from pathlib import Path

import aiohttp
import pytest

import standins
from portcullis.bootstrap import authority_of
from portcullis.config import load
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import BUILT_IN, MEANING, Right

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


BEFORE = {
    "approver": """
        GET /api/v1/approvals/{id}
        POST /api/v1/approvals/{id}/approve
        POST /api/v1/approvals/{id}/deny
        POST /api/v1/incidents/{id}/approve
        GET /api/v1/reviews/{id}
        POST /api/v1/reviews/{id}/close
        POST /api/v1/reviews/{id}/reopen""",
    "investigator": """
        POST /api/v1/content""",
    "responder": """
        POST /api/v1/alerts/{id}/acknowledge
        POST /api/v1/alerts/{id}/resolve
        POST /api/v1/credentials/{id}/revoke
        POST /api/v1/grants/{id}/revoke
        POST /api/v1/incidents
        POST /api/v1/incidents/{id}/checklist
        POST /api/v1/incidents/{id}/credentials
        POST /api/v1/incidents/{id}/findings
        POST /api/v1/incidents/{id}/notes
        POST /api/v1/incidents/{id}/steps/{step}
        POST /api/v1/kills
        POST /api/v1/policy/releases/{number}/rollback
        POST /api/v1/principals/{kind}/{id}/revoke
        POST /api/v1/principals/{kind}/{id}/rotate
        POST /api/v1/principals/{kind}/{id}/suspend
        POST /api/v1/quarantine""",
}
"""What each role that is built in may beside looking; all else is for ``admin`` alone."""
OWN = ("POST /api/v1/break-glass/{id}/end", "POST /api/v1/grants/links")
"""What any operator may do, for himself; the service asks for more where it is another's."""


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
    rights = {
        f"{verb.upper()} {path}": tuple(said.get("x-right", ()))
        for path, verbs in found.items()
        for verb, said in verbs.items()
        if said.get("x-principal") == "operator"
    }
    listed = {
        match[1]: tuple(re.findall(r"`([a-z.]+)`", match[2]))
        for match in re.finditer(
            r"^\| `([A-Z]+ [^`\[]+)[^|]*` \| ([^|]*) \|", section, re.MULTILINE
        )
    }
    assert {route: listed[route] for route in rights} == rights
    for route, asked in rights.items():
        assert asked, route
        assert set(asked) <= set(Right), route
        assert "look" not in asked or route.startswith("GET") or route in OWN, route
        may = {role for role, one in BUILT_IN.items() if one.intersection(asked)}
        named = {role for role, routes in BEFORE.items() if route in routes.split("\n        ")}
        assert may == (set(BUILT_IN) if asked == ("look",) else {*named, "admin"}), route
    everything = {right for asked in rights.values() for right in asked}
    assert set(Right) - everything == {"sessions.close"}  # which is of the console alone


def test_every_right_is_told_of_in_the_docs():
    operators = (Path(__file__).parents[3] / "docs" / "operators.md").read_text(encoding="utf-8")
    table = operators.partition("<!-- rights:begin -->")[2].partition("<!-- rights:end -->")[0]
    assert re.findall(r"^\| `([a-z.]+)`", table, re.MULTILINE) == [*Right]
    assert set(MEANING) == set(Right)


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
