"""If these fail, an agent may more than anybody confirmed and nobody hears of it, or an access
review changes a policy by itself."""

from __future__ import annotations

import asyncio
import json

import pytest
import yaml

import commands
import standins
from console.people import housed
from e2e.approvals.desk import furnished
from e2e.policy.test_observe import activated, tried
from portcullis.core.alert import Wanted
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio

NAME = standins.AGENT
MINE = {"customer_id": "C-1001"}


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


def policy(**more):
    """The demonstration's, with an agent that nobody owns and a second one of the same role."""
    told = yaml.safe_load(standins.support_policy())
    told["agents"][NAME] |= {"review_by": "2026-01-31"}
    told["agents"]["twin-1"] = {"role": "support_agent", "owner": "team"}
    told["agents"]["stray-1"] = {"role": "stray"}
    told["roles"]["stray"] = {"allowed_tools": ["kb.search_knowledge_base", "kb.nothing"]}
    told["roles"]["support_agent"] |= more
    return yaml.safe_dump(told, sort_keys=False)


async def run(stage, *words, code=0):
    """What a command of ``portcullis policy`` prints."""
    given = ("policy", *words, "-c", stage.config)
    done = await asyncio.to_thread(commands.run, *map(str, given), cwd=stage.config.parent)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if not code or code == 5 else done.stderr


async def told(stage, *words, code=0):
    """The same as one object."""
    return json.loads(await run(stage, *words, "--json", code=code))


@pytest.fixture(scope="module")
async def house(tmp_path_factory, anyio_backend):
    folder = tmp_path_factory.mktemp("review")
    async with standins.staged(folder, policy=policy()) as made:
        desk = await furnished(made)
        async with housed(desk) as people:
            await made.register(PrincipalKind.AGENT, "unnamed-1")
            _, token = await made.open_session(desk.application, NAME, subject=MINE)
            assert await tried(made, token, "orders.search", MINE | {"limit": 5}) == ""
            for _ in range(300):  # until the log's entry is signed
                report = await told(made, "review")
                if any(one["used"] for one in report["agents"]):
                    break
                await asyncio.sleep(0.1)
            yield people


@pytest.fixture(scope="module")
def stage(house):
    return house.desk.stage


async def test_the_four_sets_are_joined_and_what_is_wrong_has_its_place(stage, tmp_path):
    page = tmp_path / "review.html"
    report = await told(stage, "review", "--fail-on", "high", "--html", page, code=5)
    sets = {one["agent"]: one for one in report["agents"]}
    mine = sets[NAME]
    names = {one["name"]: one for one in mine["effective"]}
    assert names["orders.search"]["risk"] == "read"
    assert names["orders.search"]["count"] == 1
    assert names["orders.search"]["offered"]
    assert "crm.delete_customer" not in names
    assert "orders.search" in mine["reachable"]
    assert [one["name"] for one in mine["used"]] == ["search"]
    grant = next(one for one in mine["declared"] if one["value"] == "read:customer_orders")
    assert "orders.search" in grant["tools"]
    assert (grant["count"], grant["place"].rpartition(":")[0]) == (1, "policy/support.yaml")
    assert (sets["stray-1"]["registered"], sets["stray-1"]["owner"]) == (False, "")

    found = {(one["kind"], tuple(one["agents"])) for one in report["findings"]}
    assert {
        ("overdue", (NAME,)),
        ("ownerless", ("stray-1",)),
        ("unregistered", ("twin-1",)),
        ("unnamed", ("unnamed-1",)),
    } <= found
    assert any(kind == "unclassed" for kind, _ in found)
    assert not any(kind == "unused" for kind, _ in found)  # the log is a few seconds old
    assert report["counts"]["high"] == sum(o["severity"] == "high" for o in report["findings"])
    text = page.read_text()
    assert "default-src &#39;none&#39;" in text
    assert "<script" not in text
    assert NAME in text


async def test_a_widening_that_nobody_confirmed_is_told_and_ends_when_somebody_does(stage):
    first = await told(stage, "certify", "confirm", NAME, "--reason", "as it should be")
    assert (first["said"], first["agent"], first["owner"]) == ("confirmed", NAME, first["owner"])
    rows = [json.loads(o) for o in (await run(stage, "certify", "list", "--json")).splitlines()]
    mine = next(one for one in rows if one["agent"] == NAME)
    assert (mine["confirmed_release"], mine["overdue"]) == (first["release"], False)
    again = await told(stage, "review")
    assert ("overdue", [NAME]) not in [(o["kind"], o["agents"]) for o in again["findings"]]

    role = yaml.safe_load(policy())["roles"]["support_agent"]
    wider = policy(allowed_tools=[*role["allowed_tools"], "crm.export_all"])
    await activated(stage, wider)
    drift = await standins.eventually(
        stage,
        lambda one: one.method == "policy.drift" and one.parameters["agent"] == NAME,
        seconds=10,
    )
    assert drift.parameters["widened"] == ["tool crm.export_all"]
    assert (drift.parameters["against"], drift.parameters["approvals"]) == (first["release"], 0)
    twin = await standins.eventually(
        stage, lambda one: one.method == "policy.drift" and one.parameters["agent"] == "twin-1"
    )
    assert twin.parameters["confirmed_by"] == ""
    await standins.eventually(
        stage,
        lambda one: (
            one.method == "policy.reviewed"
            and one.parameters["release"] == drift.parameters["release"]
        ),
        seconds=10,
    )
    alerts = stage.gate.services.alert_parts.store
    assert {NAME, "twin-1"} <= await raised(alerts)
    widened = await told(stage, "review", "--fail-on", "high", code=5)
    assert ("widened", [NAME]) in [(one["kind"], one["agents"]) for one in widened["findings"]]

    stale = ("--release", str(first["release"]))
    refused = await run(stage, "certify", "confirm", NAME, "--reason", "x", *stale, code=1)
    assert "PC7045" in refused
    await told(stage, "certify", "confirm", NAME, "--reason", "they export now")
    assert "widened" not in [one["kind"] for one in (await told(stage, "review"))["findings"]]


async def raised(store):
    """The agents of the alarm about drift."""
    for _ in range(300):
        found = await asyncio.to_thread(store.page, Wanted(), "", 100)
        agents = {one.group["parameters.agent"] for one in found if one.rule == "policy-drift"}
        if {NAME, "twin-1"} <= agents:
            return agents
        await asyncio.sleep(0.1)
    return agents


async def test_what_is_revoked_is_a_patch_and_nothing_changes_by_itself(stage):
    place = stage.config.parent / "policy/support.yaml"
    before = place.read_text()
    report = await told(stage, "review")
    stray = next(one for one in report["agents"] if one["agent"] == "stray-1")
    rule = next(one["rule"] for one in stray["declared"] if one["value"] == "kb.nothing")
    done = await told(
        stage, "certify", "revoke", "stray-1", "--grant", rule, "--reason", "of no use"
    )
    assert "-  - kb.nothing\n" in done["patch"].replace("    -", "  -")
    assert (done["certificate"]["led_to"], done["certificate"]["grant"]) == (0, rule)
    assert place.read_text() == before
    path = "roles.support_agent.permissions[0]"
    refused = await run(stage, "certify", "revoke", NAME, "--grant", path, "--reason", "x", code=1)
    assert "PC7047" in refused
    assert "twin-1" in refused
    history = await run(stage, "certify", "list", "stray-1")
    assert "revoked" in history
    events = [one for one in stage.events() if one.method.startswith("policy.certify.")]
    assert {one.principal_kind for one in events if one.verdict == "allow"} >= {"operator"}


async def test_in_the_console_an_administrator_confirms_and_revokes_and_others_only_read(
    house, stage
):
    ada, vic = house.person("ada"), house.person("vic")
    shown = (await vic.get("/policy")).text
    assert "An agent without an owner" in shown
    assert f"/policy/agents/{NAME}" in shown
    assert "Review it now" not in shown
    own = (await vic.get("/policy/agents/stray-1")).text
    assert "kb.nothing" in own
    assert "<button class=" not in own
    page = "/policy/agents/stray-1"
    release = (await told(stage, "review"))["release"]
    stale = await ada.act(f"{page}/confirm", release="999", reason="x")
    assert "PC7045" in stale.text
    done = await ada.act(f"{page}/confirm", release=str(release), reason="all three of us")
    assert (done.status, done.place) == (303, page)
    assert "all three of us" in (await vic.get(page)).text
    shared = await ada.act(
        f"/policy/agents/{NAME}/revoke",
        grant="roles.support_agent.permissions[0]",
        reason="no orders",
    )
    assert "PC7047" in shared.text
    before = (stage.config.parent / "policy/support.yaml").read_text()
    gone = await ada.act(f"{page}/revoke", grant="roles.stray.allowed_tools[1]", reason="of no use")
    assert "Nothing has changed yet" in gone.text
    assert "--- a/support.yaml" in gone.text
    assert (stage.config.parent / "policy/support.yaml").read_text() == before
    assert (await ada.act("/policy/review")).place == "/policy"
