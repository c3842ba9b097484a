import asyncio
import dataclasses
import json
import secrets

import pytest
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from portcullis.config import Limits
from portcullis.core.credential import Presented
from portcullis.core.inspection_ports import Pin
from portcullis.core.principal import PrincipalKind, TaskBound
from portcullis.identity.oidc import Person

SIGNED = {"user": None, "user_token": "signed"}
FORGED = {"user": None, "user_token": "forged"}


@pytest.fixture
def web(world):
    return world.bearer("application", "web")


def body(**fields):
    return {
        "agent": "shop-1",
        "user": "u-7",
        "prompt": "where is my order C-1001?",
        "subject": {"customer_id": "C-1001", "level": 2, "vip": True, "note": None},
    } | fields


def test_an_application_opens_a_session_and_the_agent_acts_under_its_token(gate, world, web):
    answer = gate.post("/v1/sessions", json=body(tools=["orders.search"]), headers=web)
    assert answer.status_code == 201
    opened = answer.json()
    principal = world.services.authority.authenticate(Presented(token=opened["token"]))
    assert (principal.kind, principal.id) == (PrincipalKind.AGENT, "shop-1")
    assert principal.session == opened["session"]
    assert principal.expires_at == opened["expires_at"]
    assert answer.headers["cache-control"] == "no-store"
    shown = gate.get(f"/v1/sessions/{opened['session']}", headers=web).json()
    assert shown == {
        "session": opened["session"],
        "agent": "shop-1",
        "user": "u-7",
        "tools": ["orders.search"],
        "bounds": {},
        "turns": 0,
        "budget": {},
        "left": {},
        "limits": [],
        "opened_at": 1_800_000_000.25,
        "expires_at": opened["expires_at"],
    }


def test_a_session_says_to_the_fraction_when_it_was_opened(gate, world, web):
    # A placeholder's number depends on it: what was made before a session is not what it made.
    world.clock.time += 0.75
    opened = gate.post("/v1/sessions", json=body(), headers=web).json()
    shown = gate.get(f"/v1/sessions/{opened['session']}", headers=web).json()
    assert shown["opened_at"] == world.clock.time
    assert shown["expires_at"] == int(shown["expires_at"])


def test_opening_is_recorded_before_it_happens_and_without_content(gate, world, web):
    world.recorder.watch = lambda event: seen.append(dict(world.services.sessions._sessions))
    seen = []
    answer = gate.post("/v1/sessions", json=body(), headers=web)
    assert seen == [{}]
    event = world.recorder.last
    assert (event.type, event.method, event.verdict) == ("admin", "sessions.open", "allow")
    assert (event.principal_kind, event.principal) == ("application", "web")
    assert event.session == answer.json()["session"]
    assert set(event.commitments) == {"user", "subject", "prompt"}
    written = json.dumps(event.parameters) + str(event.commitments) + event.reason
    for content in ("C-1001", "u-7", "where is"):
        assert content not in written


def test_nothing_is_opened_that_cannot_be_recorded(gate, world, web):
    world.recorder.full = True
    answer = gate.post("/v1/sessions", json=body(), headers=web)
    assert answer.status_code == 503
    assert answer.json()["code"] == "PC6001"
    assert world.services.sessions._sessions == {}


def test_a_closed_session_is_gone(gate, world, web):
    opened = gate.post("/v1/sessions", json=body(), headers=web).json()
    path = f"/v1/sessions/{opened['session']}"
    assert gate.delete(path, headers=web).status_code == 204
    assert world.recorder.last.method == "sessions.close"
    for answer in (gate.get(path, headers=web), gate.delete(path, headers=web)):
        assert (answer.status_code, answer.json()["code"]) == (404, "PC2010")


def test_whoever_closes_a_session_hears_that_a_restart_would_open_it(gate, world, web, monkeypatch):
    world.register("application", "other")
    opened = gate.post("/v1/sessions", json=body(), headers=web).json()
    path = f"/v1/sessions/{opened['session']}"

    def locked(session_id):
        raise OperationalError("DELETE", {}, Exception("database is locked"))

    with monkeypatch.context() as patched:
        patched.setattr(world.services.sessions, "_delete", locked)
        for _ in range(2):
            assert gate.delete(path, headers=web).json()["code"] == "PC9002"
        for method in (gate.get, gate.delete):
            other = world.bearer("application", "other")
            assert method(path, headers=other).json()["code"] == "PC2010"
        assert gate.get(path, headers=web).json()["code"] == "PC2010"
    assert gate.delete(path, headers=web).status_code == 204
    assert gate.delete(path, headers=web).status_code == 404
    closed = [one for one in world.recorder.events if one.method == "sessions.close"]
    assert [one.verdict for one in closed if one.verdict == "allow"] == ["allow"]


def test_another_application_neither_sees_nor_closes_a_session(gate, world, web):
    world.register("application", "other")
    other = world.bearer("application", "other")
    path = f"/v1/sessions/{gate.post('/v1/sessions', json=body(), headers=web).json()['session']}"
    unknown = gate.get("/v1/sessions/nothing", headers=other).json()
    assert gate.get(path, headers=other).json() == unknown
    assert gate.delete(path, headers=other).json() == unknown
    assert gate.get(path, headers=web).status_code == 200


def test_a_task_bounds_the_arguments_of_its_tools(gate, world, web):
    bounds = {"amount": {"maximum": 100}, "to": {"equals": None}, "why": {}}
    tool = {"tool": "bank.pay", "arguments": bounds}
    opened = gate.post("/v1/sessions", json=body(tools=["kb.find", tool]), headers=web).json()
    session = world.services.sessions._sessions[opened["session"]]
    assert session.grant == ("kb.find", "bank.pay")
    assert session.bounds == {
        "bank.pay": (
            TaskBound(argument="amount", kind="maximum", value=100),
            TaskBound(argument="to", kind="equals", value=None),
            TaskBound(argument="why", kind="required", value=True),
        )
    }
    shown = gate.get(f"/v1/sessions/{opened['session']}", headers=web).json()
    assert shown["bounds"] == {"bank.pay": ["amount: maximum", "to: equals", "why: required"]}
    assert "100" not in str(world.recorder.last.parameters["tools"])
    for bad in (
        [tool, "bank.pay"],
        [tool, tool],
        [{"tool": "bank.pay", "arguments": {"amount": {"most": 1}}}],
        [{"tool": "bank.pay", "arguments": {"amount": {"maximum": "1"}}}],
        [{"tool": "bank.pay", "arguments": {"amount": {"required": False}}}],
        [{"tool": "bank.pay", "arguments": {"amount": {"optional": True}}}],
        [{"tool": "bank.pay", "arguments": {"amount": {"optional": True, "required": True}}}],
    ):
        answer = gate.post("/v1/sessions", json=body(tools=bad), headers=web)
        assert (answer.status_code, answer.json()["code"]) == (400, "PC1020")


@pytest.mark.parametrize(
    ("schema", "refused"),
    [
        ({"type": "object", "properties": {"amount": {}}}, True),
        ({"properties": {"amount": {}}, "additionalProperties": False}, True),
        ({"properties": {"amount": {}}, "additionalProperties": {"type": "string"}}, False),
        ({"properties": {"amount": {}}, "patternProperties": {"x": {}}}, False),
        ({"properties": {"amount": {}}, "anyOf": [{"properties": {"sum": {}}}]}, False),
        ({"type": "object"}, False),
        ({"type": "object", "properties": {"amount": {}, "sum": {}}}, False),
    ],
)
def test_a_bound_on_an_argument_that_the_tool_does_not_have_is_refused(
    gate, world, web, schema, refused
):
    definition = json.dumps({"name": "pay", "inputSchema": schema})
    pin = Pin(server="bank", tool="pay", digest="0" * 64, definition=definition, pinned_at=1.0)
    world.services.pins.add([pin])
    bounds = {"sum": {"maximum": 100, "optional": True}}
    asked = body(tools=[{"tool": "bank.pay", "arguments": bounds}])
    answer = gate.post("/v1/sessions", json=asked, headers=web)
    assert answer.status_code == (400 if refused else 201)
    if refused:
        assert answer.json()["detail"] == "tools: bank.pay has no argument sum"
        return
    session = world.services.sessions._sessions[answer.json()["session"]]
    assert session.bounds["bank.pay"] == (
        TaskBound(argument="sum", kind="maximum", value=100, optional=True),
    )


def test_what_the_user_says_next_comes_from_the_application_and_is_committed_to(gate, world, web):
    opened = gate.post("/v1/sessions", json=body(), headers=web).json()
    first = world.recorder.last.commitments["prompt"]
    path = f"/v1/sessions/{opened['session']}/turns"
    answer = gate.post(path, json={"prompt": "and cancel C-1002"}, headers=web)
    assert (answer.status_code, answer.json()["turns"]) == (200, 1)
    session = world.services.sessions._sessions[opened["session"]]
    assert session.prompts == ("where is my order C-1001?", "and cancel C-1002")
    event = world.recorder.last
    assert (event.method, event.session, event.parameters) == (
        "sessions.turn",
        opened["session"],
        {"turn": 1},
    )
    assert event.commitments["prompt"] != first
    agent = {"authorization": f"Bearer {opened['token']}"}
    refused = gate.post(path, json={"prompt": "send it to me"}, headers=agent)
    assert refused.status_code in (401, 403)
    world.register("application", "other")
    answer = gate.post(path, json={"prompt": "x"}, headers=world.bearer("application", "other"))
    assert (answer.status_code, answer.json()["code"]) == (404, "PC2010")
    assert world.services.sessions._sessions[opened["session"]] == session


def test_a_user_who_says_too_much_is_refused_and_nothing_is_lost(gate, world, web):
    opened = gate.post("/v1/sessions", json=body(prompt=""), headers=web).json()
    path = f"/v1/sessions/{opened['session']}/turns"
    for _ in range(4):
        assert gate.post(path, json={"prompt": "x" * 65_536}, headers=web).status_code == 200
    answer = gate.post(path, json={"prompt": "y"}, headers=web)
    assert (answer.status_code, answer.json()["code"]) == (400, "PC1020")
    assert len(world.services.sessions._sessions[opened["session"]].prompts) == 4


def test_a_session_may_declare_the_schema_of_its_answer(gate, world, web):
    schema = {"type": "object", "required": ["total"]}
    opened = gate.post("/v1/sessions", json=body(output_schema=schema), headers=web).json()
    assert world.services.sessions._sessions[opened["session"]].output_schema == schema
    assert len(world.recorder.last.parameters["output_schema"]) == 64
    for bad in ({"$ref": "https://x.example/s.json"}, {"type": "nothing"}, {"x": "y" * 140_000}):
        answer = gate.post("/v1/sessions", json=body(output_schema=bad), headers=web)
        assert (answer.status_code, answer.json()["code"]) == (400, "PC1020")
        assert answer.json()["detail"].startswith("output_schema: ")


def test_a_session_ends_at_its_time(gate, world, web):
    opened = gate.post("/v1/sessions", json=body(ttl_seconds=30), headers=web).json()
    assert opened["expires_at"] == 1_800_000_030
    world.clock.time += 30
    assert gate.get(f"/v1/sessions/{opened['session']}", headers=web).status_code == 404


def test_an_issuer_of_id_tokens_vouches_for_the_user_instead(gate, world, web):
    person = Person(issuer="corp", subject="u-9", groups=(), roles=(), expires_at=0)
    world.services.id_tokens.known["signed"] = person
    answer = gate.post("/v1/sessions", json=body(**SIGNED), headers=web)
    assert answer.status_code == 201
    path = f"/v1/sessions/{answer.json()['session']}"
    assert world.recorder.last.parameters["issuer"] == "corp"
    assert gate.get(path, headers=web).json()["user"] == "corp:u-9"
    answer = gate.post("/v1/sessions", json=body(**FORGED), headers=web)
    assert (answer.status_code, answer.json()["code"]) == (401, "PC2072")


def test_without_an_issuer_nobody_but_the_application_vouches(world, web):
    world.register("application", "web")
    alone = TestClient(world.app(dataclasses.replace(world.services, id_tokens=None)))
    answer = alone.post("/v1/sessions", json=body(**SIGNED), headers=web)
    assert (answer.status_code, answer.json()["code"]) == (401, "PC2072")


def test_the_token_of_a_session_tells_the_agent_no_name(gate, world, web):
    opened = gate.post("/v1/sessions", json=body(), headers=web).json()
    claims = world.services.authority.verify(opened["token"])
    assert (claims.sub, claims.sid) == (f"user:{opened['session']}", opened["session"])
    assert claims.may_act.sub == "agent:shop-1"
    assert "u-7" not in repr(claims)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"user": None}, 400, "PC1020"),
        ({"user_token": "x"}, 400, "PC1020"),
        ({"agent": "nobody"}, 403, "PC2007"),
        ({"ttl_seconds": 901}, 400, "PC1020"),
        ({"ttl_seconds": 0}, 400, "PC1020"),
        ({"ttl_seconds": "60"}, 400, "PC1020"),
        ({"ttl_seconds": True}, 400, "PC1020"),
        ({"agent": "../etc"}, 400, "PC1020"),
        ({"agent": None}, 400, "PC1020"),
        ({"user": ""}, 400, "PC1020"),
        ({"subject": {"a": {"b": 1}}}, 400, "PC1020"),
        ({"subject": {"a": [1]}}, 400, "PC1020"),
        ({"subject": [["a", 1]]}, 400, "PC1020"),
        ({"tools": ["no-server"]}, 400, "PC1020"),
        ({"tools": "orders.search"}, 400, "PC1020"),
        ({"prompt": "x" * 65_537}, 400, "PC1020"),
        ({"role": "admin"}, 400, "PC1021"),
    ],
)
def test_a_bad_session_request_is_refused_with_its_code_and_recorded(
    gate, world, web, changes, status, code
):
    answer = gate.post("/v1/sessions", json=body(**changes), headers=web)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    event = world.recorder.last
    assert (event.code, event.verdict, event.principal) == (code, "deny", "web")
    assert event.method == "POST /v1/sessions"


def test_a_refusal_repeats_nothing_that_the_caller_wrote(gate, world, web):
    secret = secrets.token_hex(16)
    for changes in ({secret: 1}, {"subject": {secret: []}}, {"tools": [secret]}):
        answer = gate.post("/v1/sessions", json=body(**changes), headers=web)
        assert answer.status_code == 400
        assert secret not in answer.text
        assert secret not in repr(world.recorder.last)
    gate.get(f"/v1/{secret}", headers=web)
    assert secret not in repr(world.recorder.last)


def test_a_credential_or_a_misspelt_parameter_in_the_query_is_refused(gate, world, web):
    answer = gate.get("/v1/sessions/s1?access_token=x", headers=web)
    assert (answer.status_code, answer.json()["code"]) == (400, "PC1021")
    assert world.recorder.last.code == "PC1021"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "PC1001"),
        (b"{", "PC1001"),
        (b'{"agent": "a", "agent": "b"}', "PC1003"),
        (b'{"agent": "\\u0000"}', "PC1004"),
        (b"[" * 100 + b"]" * 100, "PC1005"),
        (b'{"ttl_seconds": 1e999}', "PC1006"),
        (b'{"agent": "\xff"}', "PC1002"),
        (b'"' + b"x" * 300_000 + b'"', "PC1007"),
    ],
)
def test_a_body_that_two_parsers_could_read_in_two_ways_is_refused(gate, world, web, content, code):
    headers = web | {"content-type": "application/json"}
    answer = gate.post("/v1/sessions", content=content, headers=headers)
    assert answer.json()["code"] == code
    assert world.recorder.last.code == code


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([("content-type", "text/plain")], "PC1008"),
        ([], "PC1008"),
        ([("content-type", "application/json"), ("content-encoding", "gzip")], "PC1013"),
        ([("content-type", "application/json"), ("content-type", "application/json")], "PC1011"),
    ],
)
def test_an_ambiguous_head_is_refused(gate, world, web, headers, code):
    content = json.dumps(body()).encode()
    answer = gate.post("/v1/sessions", content=content, headers=[*web.items(), *headers])
    assert answer.json()["code"] == code
    assert world.recorder.last.code == code


@pytest.mark.parametrize(
    ("kind", "name", "fields"),
    [
        ("agent", "shop-1", {}),
        ("agent", "shop-1", {"session": "s1"}),
        ("operator", "ada", {"roles": ("admin",)}),
    ],
)
def test_only_applications_open_sessions(gate, world, kind, name, fields):
    answer = gate.post("/v1/sessions", json=body(), headers=world.bearer(kind, name, **fields))
    assert (answer.status_code, answer.json()["code"]) == (403, "PC2004")
    assert (world.recorder.last.type, world.recorder.last.code) == ("admin", "PC2004")


def test_a_session_is_not_opened_for_or_by_a_suspended_principal(gate, world, web):
    gate.portal.call(world.set_state, "agent", "shop-1", "suspended")
    answer = gate.post("/v1/sessions", json=body(), headers=web)
    assert (answer.status_code, answer.json()["code"]) == (403, "PC4001")
    gate.portal.call(world.set_state, "agent", "shop-1", "active")
    assert gate.post("/v1/sessions", json=body(), headers=web).status_code == 201
    gate.portal.call(world.set_state, "application", "web", "suspended")
    answer = gate.post("/v1/sessions", json=body(), headers=web)
    assert (answer.status_code, answer.json()["code"]) == (403, "PC4001")


def test_a_stale_feed_denies_reads_too(gate, world, web):
    world.services.feed._stale = True
    answer = gate.get("/v1/sessions/s1", headers=web)
    assert (answer.status_code, answer.json()["code"]) == (503, "PC4002")
    assert world.recorder.last.code == "PC4002"


@pytest.mark.parametrize(
    "path", ["/v1/sessions", "/v1/sessions/s1", "/v1/nothing", "/openapi.json"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_nobody_without_a_credential_learns_which_routes_there_are(gate, world, method, path):
    answer = gate.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (401, "PC2001")
    assert answer.headers["www-authenticate"] == (
        'Bearer resource_metadata="http://testserver/.well-known/oauth-protected-resource"'
    )
    assert (world.recorder.last.type, world.recorder.last.code) == ("error", "PC2001")


def test_unknown_routes_and_methods_are_refused_in_our_shape(gate, world, web):
    answer = gate.get("/v1/nothing", headers=web)
    assert (answer.status_code, answer.json()["code"]) == (404, "PC1010")
    answer = gate.put("/v1/sessions", headers=web)
    assert (answer.status_code, answer.json()["code"]) == (405, "PC1009")
    assert answer.headers["allow"] == "POST"
    assert world.recorder.last.code == "PC1009"


def test_a_fault_of_ours_is_a_refusal_that_says_nothing(gate, world, web):
    async def broken(session_id):
        raise RuntimeError("select secret from table")

    world.services.sessions.get = broken
    answer = gate.get("/v1/sessions/s1", headers=web)
    assert (answer.status_code, answer.json()["code"]) == (500, "PC9002")
    assert "secret" not in answer.text
    assert world.recorder.last.code == "PC9002"


def test_a_refusal_that_cannot_be_recorded_says_so(gate, world):
    world.recorder.full = True
    assert gate.get("/v1/sessions/s1").json()["code"] == "PC6001"


def test_the_callers_trace_is_kept_and_a_malformed_one_is_not(gate, world, web):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    good = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    gate.get("/v1/sessions/s1", headers=web | good)
    assert world.recorder.last.trace_id == trace
    gate.get("/v1/sessions/s1", headers=web | {"traceparent": f"00-{trace}"})
    assert len(world.recorder.last.trace_id) == 32
    assert world.recorder.last.trace_id != trace


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("messages", "status", "code"),
    [
        ([{"type": "http.request", "body": b"{", "more_body": True}], 408, "PC1012"),
        ([{"type": "http.request", "more_body": True}, {"type": "http.disconnect"}], 408, "PC1012"),
        ([{"type": "http.request", "body": b"x" * 999, "more_body": True}] * 300, 413, "PC1007"),
    ],
)
async def test_a_body_that_never_ends_is_given_up_and_recorded(world, messages, status, code):
    limits = Limits(receive_seconds=0.05)
    app = world.app(dataclasses.replace(world.services, limits=limits))
    arriving = iter(messages)
    sent = []

    async def receive():
        message = next(arriving, None)
        if message is None:
            await asyncio.sleep(60)
        return message

    async def send(message):
        sent.append(message)

    headers = world.bearer("application", "web") | {"content-type": "application/json"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/sessions",
        "raw_path": b"/v1/sessions",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 5123),
        "server": ("127.0.0.1", 80),
        "scheme": "http",
        "http_version": "1.1",
        "root_path": "",
    }
    await app(scope, receive, send)
    assert sent[0]["status"] == status
    assert (world.recorder.last.code, world.recorder.last.source) == (code, "127.0.0.1:5123")


def test_a_session_has_the_budget_that_it_was_opened_with_and_it_is_on_record(gate, world, web):
    answer = gate.post("/v1/sessions", json=body(budget={"calls": 50, "effects": 5}), headers=web)
    assert world.recorder.last.parameters["budget"] == {"calls": 50, "effects": 5}
    path = f"/v1/sessions/{answer.json()['session']}"
    session = asyncio.run(world.services.sessions.get(answer.json()["session"]))
    asyncio.run(world.services.spending.take(session, ("calls", "effects")))
    shown = gate.get(path, headers=web).json()
    assert shown["budget"] == {"calls": 50, "effects": 5}
    assert shown["left"] == {"calls": 49, "effects": 4}
    said = gate.post(f"{path}/turns", json={"prompt": "and again"}, headers=web).json()
    assert (said["budget"], said["left"]) == (shown["budget"], shown["left"])


@pytest.mark.parametrize("budget", [None, {}, {"calls": None}])
def test_a_session_without_limits_is_not_counted(gate, world, web, budget):
    opened = gate.post("/v1/sessions", json=body(budget=budget), headers=web).json()
    shown = gate.get(f"/v1/sessions/{opened['session']}", headers=web).json()
    assert (shown["budget"], shown["left"]) == ({}, {})


@pytest.mark.parametrize(
    ("budget", "field", "code"),
    [
        *(
            ({"calls": wrong}, "budget.calls", "PC1020")
            for wrong in (0, -1, 1.5, True, "9", 10**9 + 1)
        ),
        ({"effects": 0}, "budget.effects", "PC1020"),
        ({"money": 5}, "budget", "PC1021"),
        (7, "budget", "PC1020"),
    ],
)
def test_a_budget_that_is_none_is_refused_by_name(gate, web, budget, field, code):
    answer = gate.post("/v1/sessions", json=body(budget=budget), headers=web)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert field in answer.json()["detail"]
