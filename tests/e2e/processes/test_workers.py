"""If these fail, `portcullis up --workers N` is another gate than `portcullis up`: a client finds
some of its calls refused, an operator's word reaches some of its processes and not others, or what
one of them did is in no log."""

import asyncio
import collections
import contextlib
import json
import os
import re
import signal
import time

import httpx2
import openai
import pytest
import yaml
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

import needles
import standins
from e2e.matrix.ways import Dpop
from e2e.processes.fleet import COUNTED, LOOK, fleet, runs, until
from effort import by_night
from holders import Holder
from portcullis.bootstrap import authority_of
from portcullis.client import Gate, enrolled
from portcullis.client import httpx as spiffe
from portcullis.client.guard import Guard
from portcullis.core.alert import Wanted
from portcullis.core.errors import Problem
from portcullis.core.lifecycle import Verb
from portcullis.core.principal import PrincipalKind
from portcullis.core.spiffe import ours

pytestmark = pytest.mark.anyio

WORKERS = ("gate-1", "gate-2", "gate-3")
MAIL = {"to": standins.SUBJECT["email"], "subject": "Hello", "body": "Your parcel is late."}


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def workers(tmp_path_factory, anyio_backend):
    up = ("up", "up", "--workers", "3")
    async with fleet(tmp_path_factory.mktemp("workers"), up, gateways=WORKERS) as made:
        yield made


@pytest.fixture
async def token(workers):
    return await workers.agent()


def served(workers, wanted):
    """How many such events each worker has on record."""
    return {name: sum(map(wanted, workers.events(name))) for name in WORKERS}


async def asked_of_all(workers, token, wanted, most=60):
    """Ask on new connections until every worker has served; nothing is refused."""
    for _ in range(most // 6):
        assert await workers.codes(token, 6) == {"": 6}
        with contextlib.suppress(AssertionError):
            return await until(lambda: all(served(workers, wanted).values()), 0.8)
    raise AssertionError(f"one of the workers got nothing: {served(workers, wanted)}")


# Clients


async def test_every_worker_serves_official_clients_and_records_what_it_served(workers, token):
    async def model():
        async with standins.openai_client(workers.stage, token) as client:
            said = [{"role": "user", "content": "Hello"}]
            return (await client.chat.completions.create(model="gpt-standin", messages=said)).id

    async def tool():
        async with standins.mcp_client(workers.stage, "orders", token) as client:
            found = await client.call_tool("search", {"customer_id": "C-1001"})
            return "O-5001" in str(found)

    answers = await asyncio.gather(*(work() for _ in range(6) for work in (model, tool)))
    assert all(answers)
    await asked_of_all(workers, token, _looked)
    origins = {event.gateway for event in workers.events() if event.principal == standins.AGENT}
    assert origins >= {f"demo.portcullis.example/{name}" for name in WORKERS}


async def test_a_limit_is_one_for_all_workers(workers):
    token = await workers.agent(COUNTED)
    assert await workers.codes(token, 30) == {"": 10, "PC3070": 20}
    said = json.loads(await workers.run("limit", "list", "--agent", COUNTED, "--json"))
    assert (said["limit"], said["ceiling"], said["left"]) == ("shared", 10, 0)


async def test_what_one_agent_is_refused_by_several_workers_is_one_alert_of_the_control_plane(
    workers, token
):
    tool = LOOK["tool"] | {"name": "wipe"}
    headers = {"authorization": f"Bearer {token}"}
    url = f"{workers.stage.gate.gate_url}/v1/calls"

    async def once():
        async with httpx2.AsyncClient(headers=headers, timeout=20) as http:
            return (await http.post(url, json=LOOK | {"tool": tool})).json()["code"]

    codes = await asyncio.gather(*(once() for _ in range(30)))
    assert set(codes) == {"PC3001"}
    where = {event.gateway for event in workers.events() if event.name == "wipe"}
    assert len(where) > 1

    async def raised():
        wanted = Wanted(rule="refused-often")
        return (await workers.asked(lambda remote: remote.alerting.list(wanted, ""))).alerts

    (one,) = await until(raised)
    assert (one.group, one.count) == ({"principal": standins.AGENT}, 20)


async def test_identities_and_their_certificates_are_good_at_every_worker(workers):
    name = "support-agent-prod-002"
    with contextlib.suppress(Problem):
        await workers.create(PrincipalKind.AGENT, name)
    joining = await workers.asked(lambda remote: remote.join(PrincipalKind.AGENT, name, 60))
    url, plain = workers.stage.gate.mtls_url, workers.stage.gate.gate_url
    async with enrolled(plain, gate=url, join_token=joining.token) as identity:
        gate = Gate(url, identity)
        for _ in range(6):
            async with openai.AsyncOpenAI(
                base_url=f"{url}/openai/v1",
                api_key="spiffe",
                http_client=httpx2.AsyncClient(transport=spiffe.Transport(gate)),
            ) as client:
                said = [{"role": "user", "content": "Hello"}]
                assert await client.chat.completions.create(model="gpt-standin", messages=said)
    issued = [e for e in workers.events() if e.method == "svid.issue" and e.principal == name]
    assert len(issued) == 1


async def test_a_proof_is_good_once_whichever_worker_it_reaches(workers):
    holder, base = Holder(), workers.stage.gate.gate_url
    domain = workers.config.trust_domain
    agent = ours(domain, PrincipalKind.AGENT, standins.AGENT)
    audience = [str(ours(domain, PrincipalKind.GATEWAY, "gate"))]
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "subject_token": workers.authority().sign_jwt(agent, audience).token,
    }
    async with httpx2.AsyncClient(timeout=20, auth=Dpop(holder)) as http:
        bound = (await http.post(f"{base}/v1/token", data=form)).json()["access_token"]
    proof = holder.proof("POST", f"{base}/v1/calls", time.time(), bound)
    headers = {"authorization": f"DPoP {bound}", "dpop": proof}

    async def once():
        async with httpx2.AsyncClient(timeout=20) as http:
            answer = await http.post(f"{base}/v1/calls", json=LOOK, headers=headers)
            return answer.json().get("code", "")

    found = collections.Counter(await asyncio.gather(*(once() for _ in range(12))))
    assert (found["PC2046"], found.total()) == (11, 12)


async def test_a_guarded_function_runs_whichever_worker_is_asked_and_told(workers, token):
    ran, url = [], workers.stage.gate.gate_url
    for _ in range(4):
        guard = Guard(toolset="program", url=url, key="", delegation=token)

        @guard.tool
        def glance() -> str:
            ran.append(1)
            return "seen"

        assert await asyncio.to_thread(glance) == "seen"
        guard.close()
    assert len(ran) == 4


# Operators


async def test_a_legacy_session_goes_on_whichever_worker_a_connection_reaches(workers, token):
    headers = {"authorization": f"Bearer {token}"}
    each = httpx2.Limits(max_keepalive_connections=0)  # a connection for each request
    async with httpx2.AsyncClient(headers=headers, timeout=20, limits=each) as http:
        url = f"{workers.stage.gate.gate_url}/mcp/orders"
        async with Client(streamable_http_client(url, http_client=http), mode="legacy") as client:
            for _ in range(12):
                found = await client.call_tool("search", {"customer_id": "C-1001"})
                assert "O-5001" in str(found)


async def test_a_value_has_one_placeholder_whichever_worker_hides_or_restores_it(workers, token):
    number, before = needles.card(), len(workers.stage.model.seen)

    async def ask():
        async with standins.openai_client(workers.stage, token) as client:
            said = [{"role": "user", "content": f"{number}, please."}]
            answer = await client.chat.completions.create(model="gpt-standin:say", messages=said)
            return answer.choices[0].message.content

    answers = [await ask() for _ in range(6)] + await asyncio.gather(*(ask() for _ in range(6)))
    reached = [seen.body.decode() for seen in workers.stage.model.seen][before:]
    assert len(reached) == 12
    assert not any(number in body for body in reached)
    assert {tuple(re.findall(r"<CREDIT_CARD_\d+>", body)) for body in reached} == {
        ("<CREDIT_CARD_1>",)
    }
    assert all(number in answer for answer in answers)


async def test_what_one_worker_held_an_operator_approves_and_any_worker_lets_through(
    workers, token
):
    sent = workers.stage.records.count("outbox")

    async def send():
        async with standins.mcp_client(workers.stage, "mail", token) as client:
            try:
                return await client.call_tool("send", MAIL)
            except MCPError as error:
                return error.error.data

    held = await send()
    approval = held.meta["portcullis/approval"]
    assert (held.is_error, workers.stage.records.count("outbox")) == (True, sent)
    await workers.asked(lambda remote: remote.approve(approval, "the customer asked"))
    results = await asyncio.gather(*(send() for _ in range(5)))
    assert [getattr(one, "is_error", None) for one in results].count(False) == 1
    assert workers.stage.records.count("outbox") == sent + 1
    decided = [event for event in workers.events("control") if event.method == "approval.approved"]
    assert decided


async def test_who_is_suspended_is_refused_by_every_worker_and_comes_back_at_every(workers):
    name = "support-agent-prod-002"
    token = await workers.agent(name)
    await asked_of_all(workers, token, lambda event: event.principal == name)

    async def change(verb):
        await workers.asked(lambda remote: remote.change(PrincipalKind.AGENT, name, verb))

    await change(Verb.SUSPEND)
    assert await workers.codes(token, 12) == {"PC4001": 12}
    await change(Verb.RESUME)
    await until(lambda: _all_allowed(workers, token))
    await change(Verb.REVOKE)
    assert await workers.codes(token, 12) == {"PC4001": 12}


async def _all_allowed(workers, token):
    return await workers.codes(token, 9) == {"": 9}


async def _the_same(workers):
    """Whether every process has told of the policies that came into force, and of the same ones."""
    told = {
        tuple(e.parameters["policy"] for e in workers.events(name) if e.method == "policy.activate")
        for name in (*WORKERS, "control")
    }
    return len(told) == 1 and len(told.pop()) > 1


async def test_a_changed_policy_is_in_force_at_every_worker(workers, token):
    place = workers.folder / "policy" / "support.yaml"
    before = place.read_text()
    text = yaml.safe_load(before)
    text["roles"]["support_agent"]["allowed_tools"].remove("program.look")
    try:
        place.write_text(yaml.safe_dump(text))
        workers.children["up"].send_signal(signal.SIGHUP)

        async def refused():
            found = await workers.codes(token, 9)
            return "" not in found and found.total() == 9

        await until(refused)
        await until(lambda: _the_same(workers))
    finally:
        place.write_text(before)
        workers.children["up"].send_signal(signal.SIGHUP)
        await until(lambda: _all_allowed(workers, token))


async def test_new_authorities_reach_every_worker_and_old_ones_are_trusted_by_none(workers):
    url = workers.stage.gate.gate_url
    sequences = collections.Counter()

    async def bundles():
        sequences.clear()
        for _ in range(12):
            async with httpx2.AsyncClient(timeout=20) as http:
                sequences[(await http.get(f"{url}/v1/bundle")).json()["spiffe_sequence"]] += 1
        return sequences

    (before,) = await bundles()
    await workers.run("ca", "rotate", "root")
    await workers.run("ca", "retire", "root")

    async def changed():
        return len(await bundles()) == 1 and before not in sequences

    await until(changed, 10)


async def test_the_live_view_shows_what_every_worker_does(workers, token):
    url = workers.stage.gate.control_url
    watching = authority_of(workers.config).mint(
        PrincipalKind.OPERATOR, "local-vic", ttl=60, roles=("viewer",)
    )
    headers = {"authorization": f"Bearer {watching.token}"}
    seen = collections.Counter()
    async with (
        httpx2.AsyncClient(headers=headers, timeout=20) as http,
        http.stream("GET", f"{url}/api/v1/live?kind=decision") as stream,
    ):
        lines = stream.aiter_lines()
        await anext(lines)
        before = served(workers, _looked)
        await asked_of_all(workers, token, _looked)
        made = sum(served(workers, _looked).values()) - sum(before.values())
        async with asyncio.timeout(5):
            async for line in lines:
                if '"look"' in line:
                    seen[json.loads(line.removeprefix("data: "))["session"]] += 1
                if seen.total() >= made:
                    break
    assert seen.total() == made


async def test_operators_are_shown_the_sessions_of_every_worker(workers):
    opened = {(await workers.opened())[0] for _ in range(6)}

    async def shown():
        page = await workers.asked(lambda remote: remote._call("GET", "/sessions"))
        return opened <= {one["id"] for one in page["sessions"]}

    await until(shown)


async def test_one_page_has_the_figures_of_every_process(workers, token):
    watching = authority_of(workers.config).mint(
        PrincipalKind.OPERATOR, "local-vic", ttl=60, roles=("viewer",)
    )
    headers = {"authorization": f"Bearer {watching.token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=20) as http:
        page = (await http.get(f"{workers.stage.gate.control_url}/metrics")).text
    names = {line.partition('gateway="')[2].partition('"')[0] for line in page.splitlines()}
    assert names >= {"control", *WORKERS}


def _looked(event):
    return event.name == "look" and event.type == "tool_call"


# Logs


async def test_commands_find_every_log_and_each_of_them_verifies(workers, token):
    await asked_of_all(workers, token, _looked)
    said = await workers.run("audit", "verify", "--json")
    reports = [json.loads(line) for line in said.splitlines()]
    assert {report["origin"].rpartition("/")[2] for report in reports} == {*WORKERS, "control"}
    assert all(report["ok"] for report in reports)
    events = [
        json.loads(line)["event"]
        for line in (await workers.run("audit", "query", "--json")).splitlines()
    ]
    assert {event["gateway"].rpartition("/")[2] for event in events} == {*WORKERS, "control"}
    times = [event["time"] for event in events]
    assert times == sorted(times)
    erased = await workers.run("audit", "erase", "--subject", "user:ada", "--reason", "r", "--json")
    assert json.loads(erased)["keys"] >= len(WORKERS)
    looked = next(event for event in events if event.get("name") == "look")
    proof = json.loads(await workers.run("audit", "prove", looked["id"], "--json"))
    assert proof["event"]["gateway"] == looked["gateway"]


async def test_the_projection_has_what_every_worker_did(workers, token):
    await asked_of_all(workers, token, _looked)

    async def shown():
        rows = await workers.run("audit", "access", "--agent", standins.AGENT, "--json")
        looks = [json.loads(row) for row in rows.splitlines() if '"look"' in row]
        allowed = [
            event
            for event in workers.events()
            if _looked(event) and event.verdict == "allow" and event.principal == standins.AGENT
        ]
        return sum(row["allowed"] for row in looks) == len(allowed) > 0

    await until(shown, 10)


# Processes


async def test_a_worker_that_is_killed_is_missed_by_nobody_and_comes_back_with_its_log(
    workers, token
):
    before = workers.pid("gate-2")
    size = len(workers.events("gate-2"))
    os.kill(before, signal.SIGKILL)
    await until(lambda: not runs(before))
    assert await workers.codes(token, 12) == {"": 12}
    after = await until(
        lambda: (pid := workers.pid("gate-2")) and pid != before and pid, seconds=40
    )
    assert after != before
    assert len(workers.events("gate-2")) > size
    ended = [e for e in workers.events("control") if e.method == "gateway.end"]
    assert (ended[-1].name, ended[-1].parameters["status"]) == ("gate-2", "SIGKILL")
    await workers.run("audit", "verify")
    since = len([e for e in workers.events("gate-2") if _looked(e)])
    await until(lambda: _served_again(workers, token, since), 10)


async def _served_again(workers, token, since):
    assert await workers.codes(token, 6) == {"": 6}
    return len([e for e in workers.events("gate-2") if _looked(e)]) > since


@by_night("a minute")
@pytest.mark.timeout(240)
async def test_workers_begin_anew_one_after_the_other_and_nobody_is_refused(workers, token):
    before = {name: workers.pid(name) for name in WORKERS}
    told = len([e for e in workers.events("control") if e.method == "gateway.end"])
    restarting = asyncio.create_task(workers.run("restart"))
    asked = collections.Counter()
    while not restarting.done():
        asked += await workers.codes(token, 3)
        await asyncio.sleep(0.05)
    await restarting
    assert set(asked) == {""}
    after = {name: workers.pid(name) for name in WORKERS}
    assert all(after[name] not in {None, before[name]} for name in WORKERS)
    ended = [e for e in workers.events("control") if e.method == "gateway.end"][told:]
    assert [(e.name, e.parameters["status"]) for e in ended] == [(n, "exit 0") for n in WORKERS]


async def test_another_of_the_same_is_refused_and_doctor_says_what_runs(workers):
    for words in (("up",), ("up", "--workers", "2"), ("control",)):
        assert "PC6003" in await workers.run(*words, code=1)
    second = await workers.start("second", "gateway", "--name", "gate-1")
    assert await second.wait() == 1
    assert f"process {workers.pid('gate-1')}" in workers.said("second")
    found = json.loads(await workers.run("doctor", "--json"))
    names = {finding["what"] for finding in found["findings"]}
    assert names >= {"control", *(f"gateway {name}" for name in WORKERS)}


async def test_all_of_them_drain_and_end_when_the_first_is_told_to(workers):
    children = [workers.pid(name) for name in WORKERS]
    assert await workers.stop("up") == 0
    assert not any(map(runs, children))
    ended = [e.parameters for e in workers.events("control") if e.method == "gateway.end"]
    assert [one["status"] for one in ended[-3:]] == ["exit 0"] * 3
    await workers.run("audit", "verify")
    assert not workers.said("up").count("Traceback")
