"""If these fail, a tool in an agent's own program runs, or reports, otherwise than was decided."""

import asyncio
import json
import secrets

import pytest

import needles
from e2e.matrix.cells import GUARD, cells, silent, until
from e2e.matrix.deployment import LEAD, PARTNER, RIVAL, SOURCED, deployed, operator
from e2e.matrix.guarded import GuardRoute
from e2e.matrix.ways import ALONE, certified, delegated, mortal
from portcullis.core.lifecycle import Verb
from portcullis.core.principal import PrincipalKind
from portcullis.gateway import guard_calls

pytestmark = pytest.mark.anyio
ORDERS = f"Says a text. {needles.ATTACK}"
DONE = json.dumps({"result": "done"})


async def allowed(route, http, text="hello"):
    """A call of ``say`` that is allowed, and runs; its id."""
    asked = await route.ask(http, "say", {"text": text})
    assert asked.passed
    return json.loads(asked.text)["call"]


async def owed(told, call):
    """How a call ended, by the log."""

    def found():
        return [event for event in told() if event.decision == call]

    await until(found, 5)
    assert len(found()) == 1
    return found()[0]


@cells("binding", "request", GUARD)
async def test_a_result_is_taken_once_and_from_its_own_caller(route, deployment, told, recorded):
    _, rival = await deployment.open(RIVAL)
    _, elsewhere = await deployment.open()
    async with route.client() as http:
        call = await allowed(route, http)
        refused = []
        for token in (rival, elsewhere):
            async with route.client(token) as other:
                refused.append(await route.report(other, call, DONE))
        refused.append(await route.report(http, "0" * 32, DONE))
        await recorded("PC5020", principal=RIVAL, route="guard")
        assert not [event for event in told() if event.decision == call]
        assert (await route.report(http, call, DONE)).text == "done"
        refused.append(await route.report(http, call, json.dumps({"result": "again"})))
    assert [seen.code for seen in refused] == ["PC5020"] * 4
    assert len({seen.text for seen in refused}) == 1
    assert (await owed(told, call)).verdict == "allow"


@cells("binding", "request", GUARD)
async def test_who_acts_for_another_reports_on_that_others_behalf(route, deployment, recorded):
    token = await delegated(route, deployment, of=LEAD, to=RIVAL)
    async with route.client(token) as http:
        call = await allowed(route, http)
        async with route.client(ALONE) as own:  # the same agent, on nobody's behalf
            assert (await route.report(own, call, DONE)).code == "PC5020"
        await recorded("PC5020", principal=RIVAL)
        assert (await route.report(http, call, DONE)).passed


@cells("tool-pinning", "request", GUARD)
async def test_a_tool_is_as_it_was_first_described_until_an_operator_says_otherwise(
    route, deployment, recorded
):
    _, rival = await deployment.open(RIVAL)
    assert (await route.call("spare", text="x")).passed
    for description, code in (("Does more.", "PC3026"), (ORDERS, "PC3027")):
        wrong = await route.call("spare", token=rival, description=description, text="anyway")
        assert wrong.code == code
        await recorded(code, check="validate", name="spare", principal=RIVAL)
        assert (await route.call("spare", text="x")).passed
    assert "anyway" not in json.dumps(route.upstream_saw())
    catalogue = deployment.stage.gate.services.catalogue("test")
    assert (await route.call("spare", description="Does it better.", text="x")).code == "PC3026"
    seen = (await catalogue.tool("program", "spare")).seen
    assert "better" in seen.definition
    await catalogue.pin(operator(), "program", "spare", seen.digest)
    async with asyncio.timeout(10):  # the gate follows the database
        while (await route.call("spare", description="Does it better.", text="x")).code:
            pass
    assert (await route.call("spare", text="x")).code == "PC3026"


@cells("tool-pinning", "request", GUARD)
async def test_nobody_describes_a_tool_that_he_may_not_see(route, deployment, told, recorded):
    _, lead = await deployment.open(LEAD)
    seen = await route.call("keep", token=lead, description="Mine.", key="k", text="x")
    assert seen.code == "PC3001"
    await recorded("PC3001", principal=LEAD)
    narrow = (await deployment.open(tools=["program.say"]))[1]
    seen = await route.call("keep", token=narrow, description="Mine.", key="k", text="x")
    assert seen.code == "PC3007"
    assert [event for event in told() if event.method == "catalogue.pin"] == []
    assert (await route.call("keep", key="k", text="x")).passed
    noted = [(e.server, e.name) for e in told() if e.method == "catalogue.pin"]
    assert noted == [("program", "keep")]


@cells("strict-input", "request", GUARD)
async def test_a_call_that_two_parsers_read_differently_is_refused(route, recorded):
    good = route.body()
    assert (await route.raw(good)).passed
    text = b'"text": "hello"'
    for bad, code in (
        (text + b", " + text, "PC1003"),
        (b'"text": "\\u0000"', "PC1004"),
        (b'"text": "\xff"', "PC1002"),
        (b'"text": ' + b"[" * 70 + b"]" * 70, "PC1005"),
        (b'"text": 1e999', "PC1006"),
    ):
        assert (await route.raw(good.replace(text, bad))).code == code
        await recorded(code, route="guard")


@cells("strict-input", "result", GUARD)
async def test_a_result_that_two_parsers_read_differently_is_withheld(route, told):
    async with route.client() as http:
        for bad, code in (
            (b'{"result": 1, "result": 2}', "PC1003"),
            (b'{"result": "\\u0000"}', "PC1004"),
            (b'{"result": "\xff"}', "PC1002"),
            (b'{"result": ' + b"[" * 70 + b"]" * 70 + b"}", "PC1005"),
            (b'{"result": 1e999}', "PC1006"),
        ):
            call = await allowed(route, http)
            assert (await route.report(http, call, bad)).code == code
            event = await owed(told, call)
            assert (event.type, event.verdict, event.code) == ("tool_result", "error", code)
            assert (await route.report(http, call, DONE)).code == "PC5020"


@cells("shape", "request", GUARD)
async def test_a_field_that_no_check_knows_is_refused(route, deployment, recorded):
    good = json.loads(route.body())
    tool = good["tool"]
    for bad, code in (
        (good | {"shadow": 1}, "PC1021"),
        (good | {"tool": tool | {"annotations": {}}}, "PC1021"),
        (good | {"arguments": [1]}, "PC1020"),
        (good | {"tool": tool | {"inputSchema": None}}, "PC1020"),
        (good | {"tool": tool | {"name": "n" * 129}}, "PC1020"),
        (good | {"tool": tool | {"description": "d" * 65_536}}, "PC1007"),
        (good | {"toolset": "peer"}, "PC5012"),
        ([good], "PC1020"),
    ):
        assert (await route.raw(json.dumps(bad).encode())).code == code
        await recorded(code, route="guard", method="POST /v1/calls")
    for path, code in (("/v1/calls?now", "PC1021"), ("/v1/calls/x", "PC1010")):
        kind = [("content-type", "application/json")]
        assert (await deployment.post(path, route.body(), kind, token=route.token)).code == code
        await recorded(code, route="guard")


@cells("shape", "result", GUARD)
async def test_a_result_with_something_unknown_in_it_is_withheld(route, told):
    async with route.client() as http:
        for bad, code in (
            ({"result": 1, "shadow": 1}, "PC1021"),
            ({"result": 1, "is_error": "no"}, "PC1020"),
            ({"is_error": False}, "PC1020"),
            ([1], "PC1020"),
        ):
            call = await allowed(route, http)
            assert (await route.report(http, call, json.dumps(bad))).code == code
            assert (await owed(told, call)).code == code


async def ends(route, folder, told, code, cut, lift):
    """What runs ends with the cut, before its result comes, and is on record."""
    async with silent(route, "wait", folder) as asking:
        await cut()
        await until(lambda: [e for e in told() if e.decision and e.code == code], 5)
        await lift()
        (folder / "go").touch()
        seen = await asking
    assert (seen.failed, seen.code) == (True, "PC5020")


@cells("contain", "result", GUARD)
async def test_what_runs_ends_with_the_cut_before_it_reports(route, deployment, told, tmp_path):
    feed, session = deployment.stage.gate.services.feed, ("session", deployment.session)
    await ends(
        route,
        tmp_path,
        told,
        "PC4001",
        lambda: feed.cut(*session, "cut by the test"),
        lambda: feed.lift(*session),
    )


@cells("life-cycle", "result", GUARD)
async def test_what_an_agent_runs_ends_when_it_is_suspended(route, deployment, told, tmp_path):
    agent = mortal(route)
    await deployment.stage.register(PrincipalKind.AGENT, agent)
    route.token, route.way = ALONE, certified(deployment, deployment.svid(agent))
    await ends(
        route,
        tmp_path,
        told,
        "PC4001",
        lambda: deployment.change(agent, Verb.SUSPEND),
        lambda: deployment.change(agent, Verb.RESUME),
    )


@cells("delegation", "result", GUARD)
async def test_what_runs_for_another_ends_with_that_other(route, deployment, told, tmp_path):
    route.token = await delegated(route, deployment, of=LEAD)
    await ends(
        route,
        tmp_path,
        told,
        "PC4001",
        lambda: deployment.change(LEAD, Verb.SUSPEND),
        lambda: deployment.change(LEAD, Verb.RESUME),
    )


@cells("mutual-tls", "result", GUARD)
async def test_nobody_reports_whose_authority_is_trusted_no_more(
    route, deployment, recorded, told, tmp_path
):
    await deployment.admit_guest()
    route.token = ALONE
    route.way = certified(deployment, deployment.partner.identity("/ns/shop/sa/guest"))
    for name in ("trusted", "withdrawn"):
        folder = tmp_path / name
        folder.mkdir()
        async with silent(route, "wait", folder) as asking:
            if name == "withdrawn":
                deployment.stage.gate.domain.trust.remove(PARTNER)
            (folder / "go").touch()
            seen = await asking
        assert seen.failed is (name == "withdrawn")
    assert seen.code in {"PC2021", ""}
    await recorded("PC2021")
    await deployment.admit_guest()


async def test_a_session_that_is_closed_ends_what_runs_in_it(route_in, deployment, told):
    session, token = await deployment.open()
    async with route_in(token).client() as http:
        call = await allowed(route_in(token), http)
        await deployment.close_session(session)
        assert (await owed(told, call)).code == "PC2006"
        assert (await route_in(token).report(http, call, DONE)).code == "PC2006"


async def test_a_gate_that_shuts_down_says_of_each_call_that_it_ended(tmp_path):
    async with deployed(tmp_path) as made:
        route = GuardRoute(made)
        async with route.client() as http:
            call = await allowed(route, http)
    (event,) = [event for event in route.events() if event.decision == call]
    assert (event.verdict, event.code) == ("error", "PC5013")


@pytest.fixture
def route_in(deployment):
    """The route under another token."""

    def make(token):
        route = GuardRoute(deployment)
        route.token = token
        return route

    return make


@pytest.fixture
def route(request, deployment):
    found = GuardRoute(deployment)
    found.before = {event.id for event in found.events()}
    return found


@cells("provenance", "result", GUARD)
@pytest.mark.control("memory", GUARD, "result")
async def test_what_an_agent_says_of_its_results_is_trusted_only_where_somebody_says_so(
    route, deployment, recorded
):
    address = f"{secrets.token_hex(6)}@shop.example"
    _, named = await deployment.open(SOURCED, prompt=f"Remember {address}, please")
    _, token = await deployment.open(SOURCED, prompt="Write to our supplier, please")
    mine = {"token": token, "text": address}
    for server in ("program", "hearsay"):
        kept = {"token": named, "key": "ours", "text": address}
        assert (await route.call("keep", server=server, **kept)).passed
    for name, more in (("say", {}), ("recall", {"key": "ours"})):
        assert (await route.call(name, server="hearsay", **mine, **more)).passed
        assert (await route.call("write", **mine)).code == "PC3060"
        await recorded("PC3060", check="provenance", name="write")
    assert (await route.call("recall", key="ours", **mine)).passed
    assert (await route.call("write", **mine)).passed


async def test_a_tool_runs_with_the_values_behind_its_placeholders(route, deployment):
    number = needles.card()
    async with route.client() as http:
        asked = {"model": "probe:plain", "messages": [{"role": "user", "content": number}]}
        assert (await http.post("/openai/v1/chat/completions", json=asked)).status_code == 200
        shown = deployment.provider.seen[-1][1]["messages"][-1]["content"]
        assert number not in shown
        given = json.loads((await route.ask(http, "say", {"text": shown})).text)
        assert given["arguments"] == {"text": number}


@pytest.mark.parametrize(
    "value", [None, 7, 2.5, True, [], {}, {"result": [1]}, ["a", {"b": None}], "", "plain", "7"]
)
async def test_a_result_comes_back_as_it_was(route, value):
    async with route.client() as http:
        call = await allowed(route, http)
        answer = await http.post(f"/v1/calls/{call}/result", json={"result": value})
    assert answer.json() == {"result": value}


async def test_an_error_is_reported_as_one(route, told):
    secret = needles.token()
    async with route.client() as http:
        call = await allowed(route, http)
        said = json.dumps({"result": f"no route to {secret}", "is_error": True})
        assert (await route.report(http, call, said)).text == "no route to [GITHUB_TOKEN]"
    assert (await owed(told, call)).result.error


async def test_a_typed_tools_text_is_held_to_its_schema(route, recorded):
    tool = {"name": "imaginary", "description": "", "inputSchema": {"type": "object"}}
    tool |= {"outputSchema": {"type": "string", "enum": ["yes", "no"]}}
    asked = {"toolset": "program", "tool": tool, "arguments": {}}
    async with route.client() as http:
        for text, code in (("yes", ""), ("maybe", "PC5009")):
            given = (await http.post("/v1/calls", json=asked)).json()
            seen = await route.report(http, given["call"], json.dumps({"result": text}))
            assert seen.code == code
    await recorded("PC5009", check="validate", name="imaginary")


async def test_whoever_leaves_while_his_call_runs_may_come_back_for_it(route):
    async with route.client() as http:
        call = await allowed(route, http)
    async with route.client() as http:
        assert (await route.report(http, call, DONE)).passed


async def test_one_agent_cannot_have_all_the_room(route, recorded, monkeypatch):
    monkeypatch.setattr(guard_calls, "MAX_BYTES", 100_000)
    async with route.client() as http:
        calls = [await allowed(route, http, "x" * 20_000) for _ in range(2)]
        asked = await route.ask(http, "say", {"text": "x" * 20_000})
        assert asked.code == "PC5025"
        await recorded("PC5025", route="guard")
        for call in calls:
            assert (await route.report(http, call, DONE)).passed
        assert (await route.call("say", text="again")).passed
