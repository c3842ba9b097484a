"""If these fail, the wrong operator leads an incident, or a request does what none should."""

import pytest

OPEN = {"agent": "shop-1", "reason": "odd"}
WHY = {"reason": "because"}
PATH = "/api/v1/incidents"
ROLES = ("viewer", "approver", "responder", "investigator", "admin")


@pytest.fixture
def by(world):
    world.register("agent", "shop-1")
    for role in ROLES:
        world.register("operator", role, [role])
    return lambda role: world.bearer("operator", role, roles=(role,))


DOORS = (
    ("", OPEN, {"responder", "admin"}),
    ("/none/steps/contain", WHY, {"responder", "admin"}),
    ("/none/steps/reaudit", WHY, {"responder", "admin"}),
    ("/none/credentials", WHY | {"reference": "x", "how": "rotate"}, {"responder", "admin"}),
    ("/none/findings", WHY | {"finding": "f1", "verdict": "harm"}, {"responder", "admin"}),
    ("/none/checklist", WHY | {"item": "contain.x"}, {"responder", "admin"}),
    ("/none/notes", {"text": "x"}, {"responder", "admin"}),
    ("/none/approve", WHY | {"proposal": "0a"}, {"approver", "admin"}),
    ("/none/reinstate", WHY, {"admin"}),
    ("/none/close", WHY, {"admin"}),
    ("/none/stand-down", WHY, {"admin"}),
)


def test_only_whoever_has_the_role_does_anything(control, by):
    headers = {role: by(role) for role in ROLES}
    for path, body, may in DOORS:
        for role in ROLES:
            answer = control.post(PATH + path, json=body, headers=headers[role])
            if role in may:
                assert answer.json().get("code") in {None, "PC7060", "PC7062"}, answer.text
            else:
                found = (answer.status_code, answer.json()["code"])
                assert found == (403, "PC2004"), (path, role)
        assert control.post(PATH + path, json=body).status_code == 401


WRONG = (
    ("", {"reason": "odd"}),
    ("", OPEN | {"session": "01"}),
    ("", OPEN | {"reason": "two\nlines"}),
    ("", OPEN | {"agent": "a b"}),
    ("", OPEN | {"playbook": "../etc"}),
    ("", OPEN | {"since_days": 0}),
    ("", OPEN | {"containing": "scold"}),
    ("/none/steps/reinstate", WHY),
    ("/none/steps/stand_down", WHY),
    ("/none/approve", WHY),
    ("/none/approve", WHY | {"proposal": ""}),
    ("/none/reinstate", WHY | {"factor": 0}),
    ("/none/reinstate", WHY | {"days": 10_000}),
    ("/none/notes", {"text": "x" * 2001}),
    ("/none/findings", WHY | {"finding": "f1", "verdict": "fine"}),
    ("/none/credentials", WHY | {"reference": "a\nb", "how": "by_hand"}),
)


def test_what_is_no_request_is_refused(control, by):
    headers = by("admin")
    for path, body in WRONG:
        answer = control.post(PATH + path, json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "PC1020"), (path, body)


def test_what_is_read_says_what_is_due_and_pages_go_on(control, world, by):
    for number in range(3):
        world.register("agent", f"bot-{number}")
        body = OPEN | {"agent": f"bot-{number}"}
        made = control.post(PATH, json=body, headers=by("responder"))
        assert made.status_code == 201
    done = control.post(
        f"{PATH}/{made.json()['id']}/steps/contain", json=WHY, headers=by("responder")
    )
    assert (done.json()["phase"], done.json()["due"]) == ("contained", "revoke")
    shown = control.get(f"{PATH}/{made.json()['id']}", headers=by("viewer")).json()
    assert shown["steps"][0]["facts"]["how"] == "kill"
    assert shown["credentials"] is None
    page = control.get(f"{PATH}?limit=2", headers=by("viewer")).json()
    rest = control.get(f"{PATH}?cursor={page['following']}", headers=by("viewer")).json()
    assert len(page["incidents"] + rest["incidents"]) == 3
    one = control.get(f"{PATH}?subject=agent:bot-1", headers=by("viewer")).json()
    assert [each["agent"] for each in one["incidents"]] == ["bot-1"]
    books = control.get("/api/v1/playbooks", headers=by("viewer")).json()["playbooks"]
    assert "hostile-agent" in {each["name"] for each in books}
    killed = {"scope": "agent", "value": "shop-1", "incident": "hostile-agent"}
    answer = control.post("/api/v1/kills", json=killed, headers=by("responder"))
    assert answer.json()["incident"]
    for body in (killed | {"scope": "role"}, {"scope": "all", "incident": "hostile-agent"}):
        refused = control.post("/api/v1/kills", json=body, headers=by("responder"))
        assert refused.json()["code"] == "PC1020"
