"""If these fail, a policy takes force that nobody approved, a gateway decides by another one, or a
canary that denies goes on."""

import asyncio
import collections
import json
import os
import signal

import httpx2
import pytest
import yaml

import standins
from e2e.processes.fleet import LOOK, fleet, until
from portcullis.bootstrap import authority_of
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio

WORKERS = ("gate-1", "gate-2")
SETTINGS = {"policy_changes": {"approvals": 1}, "tokens": {"bearer": "loopback"}}
TOOLS = ("look", "glance")


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


def policy(*granted):
    text = yaml.safe_load(standins.support_policy())
    text["roles"]["support_agent"]["allowed_tools"] += [f"program.{tool}" for tool in granted]
    text["tools"] |= {f"program.{tool}": {"risk": "read"} for tool in TOOLS}
    text.pop("limits", None)
    return yaml.safe_dump(text)


@pytest.fixture(scope="module")
async def workers(tmp_path_factory, anyio_backend):
    up, folder = ("up", "up", "--workers", "2"), tmp_path_factory.mktemp("releases")
    async with fleet(folder, up, gateways=WORKERS, settings=SETTINGS, said=policy("look")) as made:
        await made.create(PrincipalKind.OPERATOR, "alice", roles=("admin",))
        yield made


async def ask(workers, token, tool, times=1):
    """Ask for a tool on so many connections: how often each code came back."""
    url = f"{workers.stage.gate.gate_url}/v1/calls"
    body = LOOK | {"tool": LOOK["tool"] | {"name": tool}}

    async def once():
        headers = {"authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(headers=headers, timeout=20) as http:
            return (await http.post(url, json=body)).json().get("code", "")

    return collections.Counter(await asyncio.gather(*(once() for _ in range(times))))


async def release(workers, *words, code=0):
    """A command about releases: what it printed as JSON, or its refusal."""
    done = await workers.run("policy", "release", *words, "--json", code=code)
    return done if code else json.loads(done)


async def proposed(workers, text, note="more"):
    """Propose a policy from a folder of its own; the release's number."""
    folder = workers.folder / note.replace(" ", "-")
    folder.mkdir(exist_ok=True)
    (folder / "support.yaml").write_text(text)
    return (await release(workers, "propose", str(folder), "--note", note))["number"]


async def approved(workers, number):
    """Alice approves it, with a token of her own at the API."""
    minted = authority_of(workers.config).mint(
        PrincipalKind.OPERATOR, "alice", ttl=60, roles=("admin",)
    )
    url = f"{workers.stage.gate.control_url}/api/v1/policy/releases/{number}/approve"
    async with httpx2.AsyncClient(headers={"authorization": f"Bearer {minted.token}"}) as http:
        answer = await http.post(url, json={"reason": "read it"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def methods(workers):
    return {(one.method, one.verdict, one.code) for one in workers.events()}


async def everywhere(workers, token, tool, code):
    """Wait until each gateway answers so: many connections reach all of them."""

    async def now():
        return set(await ask(workers, token, tool, 8)) == {code}

    await until(now, 20)


def deciders(workers, digest):
    """The gateways that have decided by a policy."""
    return {one.gateway.rpartition("/")[2] for one in workers.events() if one.policy == digest}


async def test_two_people_put_a_policy_in_force_and_every_gateway_decides_by_it(workers):
    token = await workers.agent()
    first = (await release(workers, "list"))["releases"]
    assert [(one["number"], one["stage"], one["origin"]) for one in first] == [
        (1, "active", "folder")
    ]
    assert ("policy.release.first", "allow", "") in methods(workers)

    # What the folder says by itself counts for nothing, and that is said.
    place = workers.config.policy / "support.yaml"
    before, wider = place.read_text(), policy(*TOOLS)
    place.write_text(wider)
    await until(lambda: ("policy.activate", "deny", "PC7036") in methods(workers), 20)
    told = {
        one["what"]: one
        for one in json.loads(await workers.run("doctor", "--json", code=1))["findings"]
    }
    assert not told["policy release"]["ok"]
    assert set(await ask(workers, token, "glance", 4)) == {"PC3001"}

    number = await proposed(workers, f"{wider}# \u202e\n", "glance too")
    differs = (await release(workers, "show", str(number), "--diff"))["diff"].splitlines()
    assert [one for one in differs if one.startswith("+") and "program.glance" in one]
    against = ("reach", str(workers.folder / "glance-too"), "--against", "1", "--fail-on", "new")
    assert "tool program.glance" in await workers.run("policy", *against, code=5)
    plain = await workers.run("policy", "release", "show", str(number), "--diff")
    assert "\\u202e" in plain
    assert "\u202e" not in plain
    assert "PC7032" in await release(workers, "activate", str(number), code=1)
    own = ("approve", str(number), "--reason", "fine")
    assert "PC7033" in await release(workers, *own, code=1)
    assert (await approved(workers, number))["stage"] == "approved"
    active = await release(workers, "activate", str(number))
    await everywhere(workers, token, "glance", "")
    await until(lambda: deciders(workers, active["digest"]) == set(WORKERS), 20)
    said = {
        (one.method, one.principal, one.parameters.get("policy"))
        for one in workers.events("control")
        if one.method.startswith("policy.release.") and one.verdict == "allow"
    }
    by = next(one for _, one, _ in said if one.startswith("local-"))
    for verb, who in (("propose", by), ("approve", "alice"), ("activate", by)):
        assert (f"policy.release.{verb}", who, active["digest"]) in said

    # And back, at once.
    back = await release(workers, "rollback", str(number), "--reason", "too much")
    assert back["stage"] == "rolled_back"
    assert "PC7025" in await release(workers, "rollback", "1", "--reason", "further", code=1)
    again = await release(workers, "propose", "--release", str(number), "--note", "again")
    assert (again["text"], again["stage"], again["approvals"]) == (active["text"], "proposed", [])
    await everywhere(workers, token, "glance", "PC3001")
    place.write_text(before)


async def test_a_shadow_says_what_would_change_and_changes_nothing(workers):
    token = await workers.agent()
    wanted = f"{policy('glance')}limits: {{slow: {{requests: {{rate: 1000/minute}}}}}}\n"
    number = await proposed(workers, wanted, "glance alone")
    await release(workers, "shadow", str(number))

    async def seen():
        assert set(await ask(workers, token, "look")) == {""}
        assert set(await ask(workers, token, "glance")) == {"PC3001"}
        found = await release(workers, "show", str(number))
        return {(one["name"], one["was"], one["now"]) for one in found["differences"]} == {
            ("program.look", "allow read", "PC3001"),
            ("program.glance", "PC3001", "allow read"),
        }

    await until(seen, 20)
    found = await release(workers, "show", str(number))
    assert {one["agent"] for one in found["differences"]} == {standins.AGENT}
    assert found["canary"]["decisions"] == 0
    assert found["untested"] == [{"part": "limits", "names": ["slow"]}]
    plain = await workers.run("policy", "release", "show", str(number))
    assert "not tested before it is active: limits slow\n" in plain
    await release(workers, "reject", str(number), "--reason", "no")


async def test_a_canary_that_denies_is_taken_back_by_itself(workers):
    number = await proposed(workers, policy(), "nothing at all")
    await approved(workers, number)
    tokens = [(await workers.opened())[1] for _ in range(40)]
    await release(workers, "canary", str(number), "--share", "50")

    async def codes():
        found = await asyncio.gather(*(ask(workers, one, "look") for one in tokens))
        return [next(iter(one)) for one in found]

    async def split():
        return set(await codes()) == {"", "PC3001"}

    await until(split, 20)
    first, then = await codes(), await codes()
    # A session sees one policy, whichever gateway it reaches, until the canary is taken back.
    assert all(after in {before, ""} for before, after in zip(first, then, strict=True))

    async def back():
        await codes()
        return (await release(workers, "show", str(number)))["release"]["stage"] == "rolled_back"

    await until(back, 20)
    found = (await release(workers, "show", str(number)))["release"]
    assert (found["by"], found["reason"].startswith("denials: ")) == ("", True)

    async def as_before():
        return set(await codes()) == {""}

    await until(as_before, 20)
    assert ("policy.release.rollback", "allow", "") in methods(workers)
    assert f"release:{number}" in await workers.run("alert", "list", "--json")


async def test_a_gateway_that_starts_decides_by_the_release_and_not_by_the_folder(workers):
    place = workers.config.policy / "support.yaml"
    before = place.read_text()
    place.write_text(policy(*TOOLS))
    pid = workers.pid("gate-1")
    os.kill(pid, signal.SIGKILL)
    await until(lambda: workers.pid("gate-1") not in {None, pid}, 40)
    token = await workers.agent()
    await everywhere(workers, token, "glance", "PC3001")
    place.write_text(before)
