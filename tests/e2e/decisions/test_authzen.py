"""An API gateway asks over AuthZEN: it is told what the agent would have been told."""

import aiohttp
import pytest
from multidict import CIMultiDict

import standins
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio
ONE, ALL = "/access/v1/evaluation", "/access/v1/evaluations"


def question(action, name, agent="worker", kind="tool", **properties):
    resource = {"type": kind, "id": name, "properties": properties}
    return {
        "subject": {"type": "agent", "id": agent},
        "action": {"name": action},
        "resource": resource,
    }


@pytest.mark.control("authorize", "authzen", "request")
@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (("call", "tool", "kb.search"), ""),
        (("call", "tool", "kb.delete"), "PC3001"),
        (("ask", "model", "gpt-5"), ""),
        (("ask", "model", "other"), "PC3005"),
        (("GET", "url", "https://api.partner.example/v1/x"), ""),
        (("POST", "url", "https://api.partner.example/v1/x"), "PC3018"),
        (("GET", "url", "https://evil.example/"), "PC3016"),
        (("connect", "host", "open.partner.example:443"), ""),
        (("connect", "host", "open.partner.example:22"), "PC3017"),
        (("connect", "host", "api.partner.example:443"), "PC3035"),
    ],
    ids=lambda one: one if isinstance(one, str) else one[2],
)
async def test_it_is_told_what_policy_says(asking, asked, code):
    said = await asking.may(*asked)
    assert (said["decision"], said["context"].get("code", "")) == (not code, code)


async def test_arguments_are_held_against_their_bounds(asking):
    assert (await asking.may("call", "tool", "kb.search", arguments={"limit": 10}))["decision"]
    said = await asking.may("call", "tool", "kb.search", arguments={"limit": 11})
    assert said["context"]["code"] == "PC3012"
    assert said["context"]["rule"].startswith("tools.kb.search.arguments.limit.maximum")


@pytest.mark.control("validate", "authzen", "request")
async def test_arguments_of_a_known_tool_are_held_against_its_schema(asking):
    schema = {"type": "object", "properties": {"limit": {"type": "integer"}, "customer_id": {}}}
    tool = {"name": "find", "description": "Find.", "inputSchema": schema}
    asked = {"toolset": "desk", "tool": tool, "arguments": {"limit": 1}}
    status, _, said = await asking.post("/v1/calls", asked, token=asking.agent)
    assert status == 200, said
    for arguments, code in (
        ({"limit": 3}, ""),
        ({"limit": 3, "all": True}, "PC3010"),
        ({"customer_id": "C-1001' OR 1=1 --"}, "PC3011"),
    ):
        said = await asking.may("call", "tool", "desk.find", arguments=arguments)
        assert said["context"].get("code", "") == code


@pytest.mark.control("record", "authzen", "request")
async def test_answer_and_record_name_each_other_and_no_argument(asking):
    said = await asking.may("call", "tool", "kb.say", arguments={"text": "needle-71c2"})
    assert said["decision"] is True
    found = await standins.eventually(
        asking.stage, lambda event: event.decision == said["context"]["event"]
    )
    assert (found.verdict, found.result.finish) == ("allow", "elsewhere")
    decided = next(one for one in asking.events() if one.id == said["context"]["event"])
    assert (decided.principal, decided.route, decided.name) == ("worker", "authzen", "say")
    assert decided.policy == said["context"]["policy"]
    assert not any("needle-71c2" in str(event) for event in asking.events())


@pytest.mark.control("authenticate", "authzen", "request")
async def test_only_an_application_that_may_ask_gets_an_answer(asking):
    for token, code in (
        ("", "PC2001"),
        (asking.agent, "PC2004"),
        (asking.other, "PC3034"),
    ):
        for path, body in ((ONE, question("call", "kb.search")), (ALL, {"evaluations": []})):
            status, _, said = await asking.post(path, body, token=token)
            assert (status, said["code"]) in {(401, code), (403, code)}


@pytest.mark.control("life-cycle", "authzen", "request")
async def test_whoever_is_revoked_is_denied_from_then_on(asking):
    assert (await asking.may("call", "tool", "kb.search", agent="doomed"))["decision"]
    await asking.stage.revoke(PrincipalKind.AGENT, "doomed")
    said = await asking.may("call", "tool", "kb.search", agent="doomed")
    assert (said["decision"], said["context"]["code"]) == (False, "PC4001")


async def test_an_agent_that_only_policy_knows_is_denied(asking):
    said = await asking.may("call", "tool", "kb.search", agent="ghost")
    assert (said["decision"], said["context"]["code"]) == (False, "PC2007")


async def test_what_waits_for_a_human_is_no_yes(asking):
    said = await asking.may("call", "tool", "kb.export")
    assert said["context"]["code"] == "PC3035"
    said = await asking.may("call", "tool", "kb.send", agent="minded", arguments={"to": "eve"})
    assert said["context"]["code"] == "PC3035"
    found = await standins.eventually(
        asking.stage, lambda event: event.id == said["context"]["event"]
    )
    assert (found.verdict, found.check) == ("deny", "provenance")


async def test_what_is_no_name_does_not_get_into_the_log(asking):
    said = await asking.may("call", "tool", "kb.search", agent="needle 4f\n")
    assert said["context"]["code"] == "PC2007"
    await asking.may("nothing", "tool", "kb.search", agent="needle 4f\n")
    await asking.may("call", "tool", "needle 4f.search")
    await asking.may("ask", "model", "gpt-5", features=["needle 4f"])
    assert not any("needle 4f" in str(event) for event in asking.events())


async def test_the_subject_may_be_a_spiffe_id_but_no_other_principals(asking):
    named = "spiffe://demo.portcullis.example/agent/worker"
    assert (await asking.may("call", "tool", "kb.search", agent=named))["decision"]
    other = "spiffe://demo.portcullis.example/application/pep"
    said = await asking.may("call", "tool", "kb.search", agent=other)
    assert said["decision"] is False
    assert said["context"]["error"]["status"] == 400


@pytest.mark.control("shape", "authzen", "request")
async def test_what_is_not_understood_is_denied(asking):
    for asked in (
        ("call", "toaster", "kb.search"),
        ("read", "tool", "kb.search"),
        ("call", "tool", "search"),
        ("GET", "url", "https://api.partner.example/v1/../x"),
        ("GET", "url", "https://10.0.0.1/v1/x"),
    ):
        said = await asking.may(*asked)
        assert said["decision"] is False
        assert "error" in said["context"]
    said = await asking.may("call", "tool", "kb.search", args={"limit": 11})
    assert said["decision"] is False


@pytest.mark.parametrize(
    ("semantic", "told"),
    [
        (None, [True, False, True]),
        ("execute_all", [True, False, True]),
        ("deny_on_first_deny", [True, False]),
        ("permit_on_first_permit", [True]),
    ],
)
async def test_several_questions_are_answered_in_order(asking, semantic, told):
    resources = [{"type": "tool", "id": f"kb.{name}"} for name in ("search", "no", "say")]
    body = {
        "subject": {"type": "agent", "id": "worker"},
        "action": {"name": "call"},
        "evaluations": [{"resource": one} for one in resources],
    }
    if semantic:
        body["options"] = {"evaluations_semantic": semantic}
    status, _, said = await asking.post(ALL, body)
    assert status == 200
    assert [one["decision"] for one in said["evaluations"]] == told


async def test_several_questions_without_any_are_one(asking):
    status, _, said = await asking.post(ALL, question("call", "kb.search"))
    assert (status, said["decision"]) == (200, True)
    status, _, said = await asking.post(ALL, {"subject": {"type": "agent", "id": "worker"}})
    assert (status, said["code"]) == (400, "PC1020")


async def test_a_request_is_identified_in_its_answer_and_its_refusal(asking):
    sent = {"X-Request-ID": "bfe9 / 7"}
    for body in (question("call", "kb.search"), {"subject": 1}):
        _, headers, _ = await asking.post(ONE, body, headers=sent)
        assert headers["X-Request-ID"] == "bfe9 / 7"


async def test_anybody_finds_where_to_ask(asking):
    url = asking.stage.gate.gate_url
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{url}/.well-known/authzen-configuration") as answer,
    ):
        said = await answer.json(content_type=None)
    assert said == {
        "policy_decision_point": url,
        "access_evaluation_endpoint": url + ONE,
        "access_evaluations_endpoint": url + ALL,
    }


@pytest.mark.control("strict-input", "authzen", "request")
async def test_what_two_parsers_could_read_in_two_ways_is_no_question(asking):
    url = asking.stage.gate.gate_url + ONE
    head = {"authorization": f"Bearer {asking.token}", "content-type": "application/json"}
    body = b'{"subject":{"type":"agent","id":"worker","id":"rival"}}'
    async with aiohttp.ClientSession(headers=head) as http, http.post(url, data=body) as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (400, "PC1003")


@pytest.mark.control("session", "authzen", "request")
@pytest.mark.control("row-scope", "authzen", "request")
@pytest.mark.control("grant", "authzen", "request")
@pytest.mark.control("provenance", "authzen", "request")
async def test_in_a_session_it_is_told_what_its_task_and_its_users_words_allow(asking):
    told = "Write to ada@partner.example."
    opened = asking.stage.open_session
    session, _ = await opened(asking.other, "sourced", subject={"id": "C-1"}, prompt=told)
    narrow, _ = await opened(asking.other, "sourced", subject={"id": "C-1"}, tools=["kb.send"])

    async def code(name, session=session, agent="sourced", **arguments):
        said = await asking.may(
            "call", "tool", name, agent=agent, session=session, arguments=arguments
        )
        return said["context"].get("code", "")

    assert await code("kb.mine", id="C-1") == ""
    assert await code("kb.mine", id="C-2") == "PC3004"
    assert await code("kb.mine", session="", id="C-1") == "PC3008"
    assert await code("kb.mine", session=narrow, id="C-1") == "PC3007"
    assert await code("kb.send", to="ada@partner.example") == ""
    assert await code("kb.send", to="eve@evil.example") == "PC3060"
    assert await code("kb.search", agent="worker") == "PC2006"
    assert await code("kb.mine", session="none", id="C-1") == "PC2006"


async def test_a_session_has_read_what_it_may_have_read_elsewhere(asking):
    session, _ = await asking.stage.open_session(asking.other, "sourced", subject={"id": "C-1"})
    services = asking.stage.gate.services
    found = await services.sessions.get(session)
    assert (await services.labels.read(found)).confidentiality == "public"
    asked = {"agent": "sourced", "session": session, "arguments": {"id": "C-1"}}
    assert (await asking.may("call", "tool", "kb.mine", **asked))["decision"]
    assert (await services.labels.read(found)).confidentiality == "confidential"


@pytest.mark.control("provider-side", "authzen", "request")
async def test_what_a_provider_would_do_by_itself_is_asked_about(asking):
    said = await asking.may("ask", "model", "gpt-5", features=["openai.web_search"])
    assert said["context"]["code"] == "PC3006"


@pytest.mark.control("bounds", "authzen", "request")
async def test_a_question_has_a_size_and_a_number(asking):
    large = question("call", "kb.say", text="x" * 5_000_000)
    assert (await asking.post(ONE, large))[2]["code"] == "PC1007"
    many = question("call", "kb.say") | {"evaluations": [{}] * 65}
    assert (await asking.post(ALL, many))[2]["code"] == "PC1020"


@pytest.mark.control("headers", "authzen", "request")
async def test_a_credential_that_is_shown_twice_is_refused(asking):
    head = CIMultiDict((("authorization", f"Bearer {asking.token}"),) * 2)
    url = asking.stage.gate.gate_url + ONE
    async with (
        aiohttp.ClientSession() as http,
        http.post(url, json=question("call", "kb.search"), headers=head) as answer,
    ):
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (400, "PC1011")
