"""If these fail, what one worker knows of an agent the others do not: it goes on at those, or who
was erased is still told apart by one of them."""

import asyncio
import collections
import json
import re

import httpx2
import pytest
import yaml
from click.testing import CliRunner

import standins
from e2e.processes.fleet import LOOK, fleet, until
from portcullis.audit.keys import DIGESTS
from portcullis.bootstrap.evidence_logs import evidence_logs
from portcullis.cli import command

pytestmark = pytest.mark.anyio

WORKERS = ("gate-1", "gate-2")
DENIED, ODD, ISOLATED, HASHED = "denied-agent", "odd-agent", "isolated-agent", "hashed-agent"
DECISIONS = {"decision", "tool_call", "llm_call"}
DENIALS = 40
"""Each worker counts them for itself."""
REFUSED = 30
SETTINGS = {
    "breakers": {"agent": {"denials": DENIALS, "open_seconds": 600, "longest_seconds": 600}},
    "behaviour": {"learn_days": 0, "bounds": {"refusals": 3}},
    "evidence": {"frameworks": ["nist-800-53"], "seconds": 0.5},
}


def policy():
    text = yaml.safe_load(standins.support_policy())
    role = text["roles"]["support_agent"]
    role["allowed_tools"] += ["program.look", "program.glance"]
    text["tools"] |= {"program.look": {"risk": "read"}, "program.glance": {"risk": "read"}}
    hashing = role["inspection"] | {"from_tool": {"EMAIL_ADDRESS": "hash"}}
    text["roles"]["hashing"] = role | {"inspection": hashing}
    text["agents"] |= {name: {"role": "support_agent"} for name in (DENIED, ODD, ISOLATED)}
    text["agents"][HASHED] = {"role": "hashing"}
    requests = {"rate": "1000/hour", "burst": 1000}
    text["limits"] = {
        "wary": {"for": {"agent": ODD}, "requests": requests, "risk": {"elevated": 0.005}}
    }
    text["quarantine"] = {"reads": ["program.look"], "otherwise": "deny"}
    return yaml.safe_dump(json.loads(json.dumps(text)))  # without anchors


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def workers(tmp_path_factory, anyio_backend):
    up, folder = ("up", "up", "--workers", "2"), tmp_path_factory.mktemp("together")
    async with fleet(folder, up, gateways=WORKERS, settings=SETTINGS, said=policy()) as made:
        yield made


async def asked(workers, token, tool, times):
    """Ask for a tool on so many connections: how often each code came back."""
    headers = {"authorization": f"Bearer {token}"}
    url, said = f"{workers.stage.gate.gate_url}/v1/calls", LOOK["tool"] | {"name": tool}

    async def once():
        async with httpx2.AsyncClient(headers=headers, timeout=20) as http:
            return (await http.post(url, json=LOOK | {"tool": said})).json().get("code", "")

    return collections.Counter(await asyncio.gather(*(once() for _ in range(times))))


def served(workers, agent, code=None):
    """The workers that have events of an agent on record, with a code."""
    return {
        e.gateway.rpartition("/")[2]
        for e in workers.events()
        if e.principal == agent and code in {None, e.code}
    }


async def refused_by_all(workers, token, agent, code):
    """Ask until every worker has refused with this code; nothing goes on meanwhile."""

    async def all_have():
        found = await workers.codes(token, 8)
        assert "" not in found, found
        return served(workers, agent, code) == set(WORKERS)

    await until(all_have, 20)


async def test_a_breaker_that_opens_for_what_several_workers_saw_is_open_at_all(workers):
    token = await workers.agent(DENIED)
    assert await workers.codes(token, 8) == {"": 8}
    for _ in range(4):
        await asked(workers, token, "unheard-of", DENIALS * 5 // 8)

    async def stopped():
        return await workers.codes(token, 8) == {"PC5023": 8}

    await until(stopped, 15)
    await refused_by_all(workers, token, DENIED, "PC5023")
    opened = [e for e in workers.events() if e.method == "breaker.open"]
    assert {e.parameters["breaker"] for e in opened} == {f"agent:{DENIED}"}


async def test_a_risk_that_one_process_learned_tightens_limits_at_all_workers(workers):
    token = await workers.agent(ODD)
    assert await workers.codes(token, 20) == {"": 20}
    assert "" not in await asked(workers, token, "unheard-of", REFUSED)

    async def tightened():
        return await workers.codes(token, 8) == {"PC3070": 8}

    await until(tightened, 20)
    await refused_by_all(workers, token, ODD, "PC3070")
    levels = [e for e in workers.events("control") if e.method == "behaviour.level"]
    assert ODD in {e.parameters["agent"] for e in levels}


async def test_who_is_in_quarantine_is_isolated_at_all_workers_and_released_at_all(workers):
    token = await workers.agent(ISOLATED)
    neighbour = await workers.agent()
    assert await asked(workers, token, "glance", 8) == {"": 8}
    await workers.run("agent", "quarantine", ISOLATED, "--reason", "a test")
    found = await asked(workers, token, "glance", 16)
    assert (len(found), "" in found) == (1, False)
    (code,) = found
    await until(lambda: served(workers, ISOLATED, code) == set(WORKERS))
    assert await asked(workers, token, "look", 8) == {"": 8}, "what policy lists goes on"
    assert await asked(workers, neighbour, "glance", 8) == {"": 8}
    await workers.run("agent", "release", ISOLATED, "--reason", "it was the test")

    async def released():
        return await asked(workers, token, "glance", 8) == {"": 8}

    await until(released)


async def test_a_digest_is_one_at_all_workers_and_another_once_the_subject_was_erased(workers):
    token = await workers.agent(HASHED)

    async def digests(times=8):
        async def once():
            async with standins.mcp_client(workers.stage, "crm", token) as client:
                shown = await client.call_tool("get_customer", {"customer_id": "C-1001"})
            return re.search(r"<EMAIL_ADDRESS#[0-9a-f]+>", str(shown))[0]

        return set(await asyncio.gather(*(once() for _ in range(times))))

    found = set()

    async def seen():
        found.update(await digests())
        return served(workers, HASHED) == set(WORKERS)

    await until(seen, 20)
    (before,) = found
    subject = "subject:customer_id=C-1001"
    said = await workers.run("audit", "erase", "--subject", subject, "--reason", "r", "--json")
    assert json.loads(said)["keys"] >= len(WORKERS) + 1
    (after,) = await digests(16)
    assert after != before
    assert (workers.config.state / "keys" / DIGESTS / "subjects.db").exists()


async def test_evidence_is_of_what_every_worker_did(workers):
    logs = evidence_logs(workers.config, 2e10)
    assert {log.name: log.resting for log in logs.each} == dict.fromkeys(
        (*WORKERS, "control"), False
    )

    async def told():
        return [e for e in workers.events("control") if e.method == "evidence.gap"]

    await until(told, 20)
    (found,) = (
        json.loads(line)
        for line in (
            await workers.run("evidence", "gaps", "--framework", "nist-800-53", "--json")
        ).splitlines()
    )
    assert {origin.rpartition("/")[2] for origin in found["logs"]} == {*WORKERS, "control"}
    rows = {row["control"]: row for row in found["rows"]}
    gaps = {gap["condition"] for row in rows.values() for gap in row["gaps"]}
    assert not gaps & {
        *("agent-unregistered", "acted-while-cut-off", "result-without-decision"),
        *("log-unverified", "incomplete-record", "certificate-stale"),
    }
    target = workers.folder / "package"
    words = ("--framework", "nist-800-53", "-o", str(target), "--json")
    said = json.loads(await workers.run("evidence", "export", *words))
    assert said["missing"] == []
    places = [evidence_logs(workers.config, 2e10).own, *logs.others]
    keys = [f"--log-key={log.place / 'log.vkey'}" for log in places]
    checked = await verified(target, said["key"], *keys)
    assert (checked["ok"], len(checked["vouched"])) == (True, 3)
    decided = collections.Counter(
        e.gateway.rpartition("/")[2] for e in workers.events() if e.type in DECISIONS
    )
    (seen,) = {
        one["count"]
        for row in json.loads((target / "evidence.json").read_text())["rows"]
        for one in row["evidence"]
        if one["signal"] == "decisions"
    }
    assert max(decided.values()) < seen <= decided.total()


async def verified(target, key, *more):
    """What the command says of a package."""

    def invoke():
        words = ["verify", str(target), "--key", key, *more, "--json"]
        return CliRunner().invoke(command("evidence"), words)

    done = await asyncio.to_thread(invoke)
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout)


async def test_keys_are_sealed_anew_with_what_the_workers_shared(workers):
    assert await workers.stop("up") == 0
    await workers.run("keys", "rotate")
    said = json.loads(await workers.run("keys", "status", "--json"))
    assert (said["older_files"], said["older_values"]) == (0, 0), said
