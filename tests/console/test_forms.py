"""What a browser would stop is stopped by the gate too: forms without their page."""

import asyncio
import json

import pytest

import standins
from console.people import COOKIE
from console.windows import waits
from portcullis.control.console.app import ConsoleParts, console_routes
from portcullis.control.console.streams import Streams
from portcullis.control.limits import LimitParts
from portcullis.control.live import READERS
from portcullis.core.lifecycle import State
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio

WHY = {"reason": "asked the customer"}
SEEN = WHY | {"whole": "yes"}
AGENT = f"/agents/{standins.AGENT}"
FORMS = {
    "approve": (
        "/approvals/{id}/approve",
        "approver",
        WHY | {"typed": "crm.delete_customer", "whole": "yes"},
    ),
    "deny": ("/approvals/{id}/deny", "approver", WHY),
    "lift": (f"{AGENT}/lift", "admin", WHY),
    "suspend": (f"{AGENT}/suspend", "responder", {}),
    "kill": (f"{AGENT}/kill", "responder", {}),
    "undo": (f"{AGENT}/undo", "admin", {}),
    "resume": (f"{AGENT}/resume", "admin", {}),
    "revoke": (f"{AGENT}/revoke", "responder", {"typed": standins.AGENT}),
    "close": ("/sessions/none/close", "responder", {}),
    "ratify": (f"{AGENT}/ratify", "admin", WHY),
    "reset": (f"{AGENT}/reset", "admin", WHY),
    "contain_agent": (
        "/containment/kill",
        "responder",
        WHY | {"scope": "agent", "value": standins.AGENT},
    ),
    "contain_all": ("/containment/kill", "responder", {"scope": "all", "typed": "everybody"}),
    "contain_undo": (
        "/containment/undo",
        "admin",
        WHY | {"scope": "agent", "value": standins.AGENT},
    ),
    "quarantine": (
        "/containment/quarantine",
        "responder",
        WHY | {"scope": "agent", "value": standins.AGENT},
    ),
    "release": (
        "/containment/release",
        "admin",
        WHY | {"scope": "agent", "value": standins.AGENT},
    ),
    "breaker": ("/breakers/reset", "admin", WHY | {"breaker": "upstream:crm"}),
    "acknowledge": ("/alerts/none/acknowledge", "responder", WHY),
    "resolve": ("/alerts/none/resolve", "responder", WHY),
    "silence": (
        "/silences",
        "admin",
        WHY | {"rule": "risk-high", "by": "", "count": "1", "unit": "hours"},
    ),
    "unsilence": ("/silences/none/end", "admin", WHY),
    "incident": ("/incidents", "responder", WHY | {"agent": standins.AGENT}),
    "contain": ("/incidents/none/steps/contain", "responder", WHY),
    "revoke_identity": ("/incidents/none/steps/revoke", "responder", WHY),
    "rotate": ("/incidents/none/steps/rotate", "responder", WHY),
    "reaudit": ("/incidents/none/steps/reaudit", "responder", WHY),
    "credential": (
        "/incidents/none/credentials",
        "responder",
        WHY | {"reference": "file:key", "how": "by_hand"},
    ),
    "finding": ("/incidents/none/findings", "responder", WHY | {"finding": "1", "verdict": "harm"}),
    "tick": ("/incidents/none/checklist", "responder", WHY | {"item": "contain.owner-told"}),
    "note": ("/incidents/none/notes", "responder", {"text": "called"}),
    "approve_reinstatement": ("/incidents/none/approve", "approver", WHY),
    "reinstate": ("/incidents/none/reinstate", "admin", WHY),
    "close_incident": ("/incidents/none/close", "admin", WHY | {"typed": standins.AGENT}),
    "stand_down": ("/incidents/none/stand-down", "admin", WHY),
    "review_policy": ("/policy/review", "admin", {}),
    "confirm_agent": (f"/policy{AGENT}/confirm", "admin", WHY | {"release": "1"}),
    "revoke_grant": (
        f"/policy{AGENT}/revoke",
        "admin",
        WHY | {"grant": "roles.support_agent.permissions[0]"},
    ),
    "replay": ("/policy/releases/1/replay", "viewer", {"against": "1", "days": "1"}),
    "approve_release": ("/policy/releases/1/approve", "admin", WHY | {"active": "1"}),
    "reject_release": ("/policy/releases/1/reject", "admin", WHY),
    "shadow": ("/policy/releases/1/shadow", "admin", {}),
    "canary": ("/policy/releases/1/canary", "admin", {"share": "10", "active": "1"}),
    "activate": ("/policy/releases/1/activate", "admin", {"typed": "1", "active": "1"}),
    "rollback": ("/policy/releases/1/rollback", "responder", WHY),
    "break_glass": (
        "/glass/begin",
        "viewer",
        WHY | {"minutes": "5", "password": "x", "code": "000000"},
    ),
    "glass_ceremony": ("/glass/passkey/begin", "viewer", {}),
    "glass_passkey": (
        "/glass/passkey",
        "viewer",
        WHY | {"minutes": "5", "ceremony": "x", "credential": "{}"},
    ),
    "end_glass": ("/glass/end", "viewer", {"glass": "none"}),
    "review_glass": ("/glass/review", "admin", WHY | {"glass": "none", "judgement": "justified"}),
}


OF_ONESELF = ("/login", "/logout", "/account")
"""Whose forms have tests of their own."""


async def test_every_form_of_the_console_stands_above(house):
    services = house.services
    parts = ConsoleParts(
        services=services,
        logins=services.logins("console"),
        passkeys=services.passkeys,
        streams=Streams(services.feed, services.clock),
        names=("localhost",),
        limits=LimitParts(counter=None, book=None, clock=services.clock, mask=str),
    )
    sent = {path.format(id="x") for path, _, _ in FORMS.values()}
    for route in console_routes(parts):
        if "POST" in route.methods and not route.path.startswith(OF_ONESELF):
            assert any(route.path_regex.match(path) for path in sent), route.path


@pytest.fixture(scope="module")
def waiting(house):
    """A call that waits and deletes."""
    return waits(house.desk)


@pytest.fixture
def untouched(house, waiting):
    """Whatever a test sends, nothing may come of it."""
    yield
    services = house.services
    assert services.approval_parts.store.get(waiting.id).state == "pending"
    assert services.directory.get(PrincipalKind.AGENT, standins.AGENT).state is State.ACTIVE
    cut = {one.scope for one in services.feed.standings() if one.reason or one.isolated}
    assert cut.isdisjoint({"agent", "session", "role", "all"})
    assert services.alert_parts.store.silences() == ()
    assert services.incident_parts.store.unresolved() == ()
    assert services.release_parts.book.standing().candidate is None


@pytest.mark.parametrize("form", FORMS)
async def test_a_form_that_is_not_of_this_login_changes_nothing(house, waiting, untouched, form):
    path, _, fields = FORMS[form]
    ada = house.person("ada")
    bound = {"binding": waiting.binding} if "{id}" in path else {}
    answer = await ada.send(path.format(id=waiting.id), fields | bound | {"csrf": "0" * 64})
    assert answer.code == "PC2081"


@pytest.mark.parametrize("form", [one for one in FORMS if FORMS[one][1] != "viewer"])
async def test_who_does_not_have_the_role_changes_nothing(house, waiting, untouched, form):
    path, role, fields = FORMS[form]
    who = "vic" if role != "admin" else "bea"
    answer = await house.person(who).act(path.format(id=waiting.id), **fields)
    assert answer.code == "PC2004"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"binding": "0" * 64}, "PC3055"),
        ({"binding": ""}, "PC3055"),
        ({"typed": ""}, "PC3054"),
        ({"whole": ""}, "PC3054"),
        ({"typed": "crm.delete_customers"}, "PC3054"),
        ({"reason": " "}, "PC1020"),
        ({"reason": "two\nlines"}, "PC1020"),
        ({"list": "?state=asleep"}, "PC1020"),
        ({"state": "approved"}, "PC1021"),
    ],
)
async def test_an_approval_that_lacks_something_is_refused(
    house, waiting, untouched, changed, code
):
    fields = SEEN | {"binding": waiting.binding, "typed": "crm.delete_customer"} | changed
    answer = await house.person("bea").act(f"/approvals/{waiting.id}/approve", **fields)
    assert answer.code == code
    assert answer.status >= 400


async def test_what_is_sent_outside_is_approved_only_when_that_was_ticked(house, untouched):
    leaves = waits(house.desk, risk="external", name="send_letter")
    bea = house.person("bea")
    fields = SEEN | {"binding": leaves.binding}
    path = f"/approvals/{leaves.id}/approve"
    assert (await bea.act(path, **fields)).code == "PC3054"
    assert (await bea.act(path, **fields, confirmed="yes")).status == 303
    assert house.services.approval_parts.store.get(leaves.id).state == "approved"


async def test_lists_hold_names_and_no_content_and_reading_a_call_is_recorded(house, waiting):
    bea = house.person("bea")
    page, data = await bea.get("/"), await bea.get("/", accept="application/json")
    listed = json.loads(data.text)
    assert waiting.id in {one["id"] for one in listed["items"]}
    assert listed["waiting"] >= 1
    for text in (page.text, data.text):
        assert "C-1001" not in text
        assert "Please forget me" not in text
    assert "C-1001" in (await bea.get(f"/approvals/{waiting.id}")).text
    await standins.eventually(
        house.desk.stage,
        lambda event: (
            (event.method, event.approval, event.principal) == ("approval.read", waiting.id, "bea")
        ),
    )


async def test_a_refused_decision_is_on_record(house, waiting):
    cy = house.person("cy")
    fields = SEEN | {"binding": waiting.binding, "typed": "crm.delete_customer"}
    answer = await cy.act(f"/approvals/{waiting.id}/approve", **fields)
    assert (answer.code, answer.status) == ("PC3046", 403)
    assert "asked the customer" in answer.text  # the form keeps what was written
    await standins.eventually(
        house.desk.stage,
        lambda event: (event.principal, event.code) == ("cy", "PC3046"),
    )


async def test_nobody_follows_what_happens_without_a_login(house):
    answer = await house.nobody().get("/events")
    assert (answer.status, answer.code) == (401, "PC2001")


async def test_who_leaves_the_live_view_makes_room_for_others(house):
    headers = {"cookie": f"{COOKIE}={house.person('vic').token}"}
    for _ in range(READERS + 4):
        async with house.http.get(f"{house.base}/events", headers=headers) as answer:
            assert answer.status == 200
            await answer.content.readany()


async def test_an_agent_or_a_call_that_there_is_not_is_said_to_be_none(house):
    bea = house.person("bea")
    assert (await bea.get("/agents/nobody")).code == "PC2010"
    assert (await bea.get("/approvals/none")).code == "PC3047"
    assert (await bea.get("/?done=none")).status == 200
    assert (await bea.get("/?cursor=none")).code == "PC3051"


async def test_the_list_in_a_message_leads_to_the_inbox(house):
    answer = await house.person("bea").get("/approvals?state=denied")
    assert (answer.status, answer.place) == (303, "/?state=denied")


async def test_a_decision_at_the_api_names_the_call_that_was_seen(house):
    made = waits(house.desk, risk="modify", name="change")
    path, bearer = f"/api/v1/approvals/{made.id}", house.bearer("bea")
    assert (await house.api("GET", path, **bearer)).json()["binding"] == made.binding
    for verb in ("approve", "deny"):
        refused = await house.api("POST", f"{path}/{verb}", WHY | {"binding": "0" * 64}, **bearer)
        assert refused.code == "PC3055"
    done = await house.api("POST", f"{path}/approve", WHY | {"binding": made.binding}, **bearer)
    assert done.status == 200


async def test_a_responder_closes_one_session_at_once_and_it_is_on_record(house):
    desk, state = house.desk, house.services.sessions
    session, token = await desk.stage.open_session(
        desk.application, standins.AGENT, subject=standins.SUBJECT
    )
    ren = house.person(await house.new("ren", "responder"))
    assert f"/sessions/{session}/close" in (await ren.get("/sessions")).text
    assert "/close" not in (await house.person("vic").get("/sessions")).text
    form = {"csrf": await ren.csrf(), "agent": standins.AGENT}
    answers = await asyncio.gather(
        *(ren.send(f"/sessions/{session}/close", form) for _ in range(3))
    )
    [answer] = (one for one in answers if one.status == 303)
    assert answer.place == f"/sessions?agent={standins.AGENT}"
    assert session not in (await ren.get(answer.place)).text
    assert not state.is_open(session)
    assert state.is_open(desk.session)
    assert (await ren.act(f"/sessions/{session}/close")).code == "PC2010"
    closed = [one for one in desk.stage.events() if one.method == "sessions.close"]
    assert [(one.principal, one.session, one.route) for one in closed] == [
        ("ren", session, "console")
    ]
    headers = {"authorization": f"Bearer {token}"}
    url = f"{desk.stage.gate.gate_url}/mcp/crm"
    async with house.http.post(url, json={}, headers=headers) as refused:
        assert "PC2006" in await refused.text()
