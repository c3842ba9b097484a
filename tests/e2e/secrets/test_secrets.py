"""The broker behind a gate, with real clients: if these fail, credentials leak or calls do."""

from __future__ import annotations

import asyncio
import base64
import secrets
from urllib.parse import quote

import pytest
from prometheus_client import generate_latest

import standins
from e2e.secrets.conftest import AGENT, THIEF, digest

pytestmark = pytest.mark.anyio

CREDS = "openbao:database/creds/reader"


async def test_credentials_stand_where_they_are_configured_and_nowhere_else(place):
    assert await place.ask("probe-a") == "hello"
    headers, query, body = place.api.seen[-1]
    assert headers["authorization"] == f"Bearer {place.planted['model']}"
    assert query == {"sig": [place.planted["signature"]]}
    assert "x-tenant" not in headers
    assert "metadata" not in body
    assert await place.ask("probe-b") == "hello"
    assert place.api.seen[-1][0]["x-tenant"] == place.planted["tenant"]


async def test_a_body_without_the_place_is_not_sent(place):
    before = len(place.api.seen)
    assert await place.ask("probe-c") == "PC5068"
    assert len(place.api.seen) == before


async def test_an_answer_with_any_of_them_is_withheld(place):
    assert await place.ask("probe-echo") == "PC5005"


async def test_a_process_gets_a_connection_string_of_one_lease(place):
    async with standins.mcp_client(place.stage, "db", place.tokens[AGENT]) as client:
        said = (await client.call_tool("check", {})).content[0].text
        users = [(user, password) for _, _, user, password in place.bao.leases.values()]
        assert said in {
            digest(f"postgresql://{quote(u, safe='')}:{quote(p, safe='')}@db.example:5432/app")
            for u, p in users
        }
        place.planted |= {f"lease-{number}": one[1] for number, one in enumerate(users)}
        with pytest.raises(Exception, match="reflected a credential"):
            await client.call_tool("spill", {})


async def test_it_is_known_which_agent_had_access_to_what(place):
    assert await place.ask("probe-b") == "hello"
    event = await standins.eventually(
        place.stage, lambda one: one.type == "llm_result" and len(one.secrets) == 3
    )
    assert event.principal == AGENT
    versions = dict(one.rsplit("@", 1) for one in event.secrets)
    for _ in range(300):
        found = await place.command("access", "--agent", AGENT)
        if any(one["scope"] == "probe-b" for one in found):
            break
        await asyncio.sleep(0.1)
    used = {(one["reference"], one["upstream"], one["scope"]): one for one in found}
    one = used["openbao:kv/app/model#key", "probe", "probe-b"]
    assert one["version"] == versions["openbao:kv/app/model#key"]
    assert one["session"] == event.session
    assert one["count"] >= 1
    assert await place.command("access", "--agent", THIEF) == []
    listed = {one["reference"]: one for one in await place.command("list")}
    assert listed["openbao:kv/app/model#key"]["upstreams"] == ["probe"]
    assert listed["env:HONEYTOKEN"]["honeytoken"]


async def test_what_the_gate_used_by_itself_is_known_as_well(place):
    assert await place.ask("probe-a") == "hello"
    for _ in range(300):
        found = await place.command("access", "--secret", "env:SIEM_KEY")
        if found:
            break
        await asyncio.sleep(0.1)
    assert {(one["agent"], one["upstream"]) for one in found} == {("", "exporters.siem")}


async def test_a_rotation_costs_no_call(place):
    new = f"model-{secrets.token_urlsafe(24)}"
    failed, done, stop = [], 0, asyncio.Event()

    async def caller():
        nonlocal done
        while not stop.is_set():
            said = await place.ask("probe-a")
            failed.extend([said] if said != "hello" else [])
            done += 1

    callers = [asyncio.create_task(caller()) for _ in range(4)]
    await asyncio.sleep(0.4)
    place.api.good.add(new)
    place.bao.put("app/model", key=new)
    await asyncio.sleep(0.2)
    place.api.good = {new}  # the old one is worthless at once
    before, refused = done, place.api.refused
    await asyncio.sleep(0.6)
    stop.set()
    await asyncio.gather(*callers)
    assert failed == []
    assert done - before > 4
    assert 1 <= place.api.refused - refused <= 8
    place.planted["model-2"] = new
    await standins.eventually(place.stage, lambda one: one.method == "secret.changed")


async def test_a_secret_is_rotated_at_once(place):
    leases = set(place.bao.leases)
    done = await place.command("rotate", f"{CREDS}#password", "--reason", "drill")
    assert done["verified"]
    assert set(place.bao.leases) - leases
    event = await standins.eventually(place.stage, lambda one: one.method == "secret.rotated")
    assert event.parameters == {"secret": f"{CREDS}#password", "verified": True, "fault": ""}
    listed = {one["reference"]: one for one in await place.command("list")}
    assert listed[f"{CREDS}#password"]["rotated"] > 0
    assert listed[f"{CREDS}#password"]["due"] > listed[f"{CREDS}#password"]["rotated"]


async def test_a_honeytoken_is_refused_and_whoever_used_it_is_quarantined(place):
    assert await place.ask("probe-a", agent=THIEF) == "hello"
    before = len(place.api.seen)
    words = f"log in with {base64.b64encode(place.planted['honey'].encode()).decode()}"
    assert await place.ask("probe-a", words, agent=THIEF) == "PC5065"
    assert len(place.api.seen) == before
    await standins.eventually(
        place.stage, lambda one: one.method == "quarantine.begin" and THIEF in one.name, 10
    )
    assert await place.ask("probe-a") == "hello"


async def test_nothing_that_the_gate_wrote_or_said_holds_any_of_them(place, capfd):
    assert await place.ask("probe-echo") == "PC5005"
    folder = place.stage.config.parent
    said = capfd.readouterr()
    texts = {f"said-{number}": one.encode() for number, one in enumerate(place.said)}
    texts |= {"stdout": said.out.encode(), "stderr": said.err.encode()}
    texts["metrics"] = generate_latest(place.stage.gate.registry)
    texts["events"] = repr(place.stage.events()).encode()
    texts |= {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "secrets"
    }
    texts["sealed"] = (folder / "secrets" / "tenant").read_bytes()
    assert len(texts) > 20
    assert len(place.planted) >= 8
    held = [
        (name, where)
        for name, value in place.planted.items()
        for form in forms(value)
        for where, content in texts.items()
        if form in content
    ]
    assert held == []


def forms(value: str) -> list[bytes]:
    """A value as it stands and as programs write it."""
    raw = value.encode()
    found = [raw, raw[::-1], raw.hex().encode(), quote(value, safe="").encode()]
    for before in range(3):
        text = base64.b64encode(b"\0" * before + raw)
        found.append(text[-(-8 * before // 6) : 8 * (before + len(raw)) // 6])
    found += [one.replace(b"+", b"-").replace(b"/", b"_") for one in found[-3:]]
    return [*found, value.encode("utf-16-le")]
