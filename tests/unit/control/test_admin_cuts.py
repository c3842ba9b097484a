"""If these fail, who is cut off goes on, or the cut waits for a log or a database."""

import pytest

from portcullis.core.principal import PrincipalKind

AGENT = {"kind": "agent", "id": "shop-1", "owner": "shop team", "purpose": "answers customers"}
ONE = "/api/v1/principals/agent/shop-1"


@pytest.fixture
def ada(world):
    return world.bearer("operator", "ada", roles=("admin",))


@pytest.fixture
def vic(world):
    return world.bearer("operator", "vic", roles=("viewer",))


@pytest.mark.parametrize(
    ("verb", "state"), [("suspend", "suspended"), ("revoke", "revoked"), ("rotate", "active")]
)
def test_what_cuts_off_happens_even_when_it_cannot_be_recorded(control, world, ada, verb, state):
    control.post("/api/v1/principals", json=AGENT, headers=ada)
    before = world.principal("agent", "shop-1")
    world.recorder.full = True
    answer = control.post(f"{ONE}/{verb}", headers=ada)
    assert (answer.status_code, answer.json()["code"]) == (503, "PC6001")
    assert world.services.feed.reason(before, None) is not None
    record = world.services.directory.get(PrincipalKind.AGENT, "shop-1")
    assert (record.state, record.rotated_at > 0) == (state, verb == "rotate")


@pytest.mark.parametrize("verb", ["suspend", "revoke", "rotate"])
def test_what_cuts_off_acts_before_the_log_and_the_database(control, world, ada, verb):
    control.post("/api/v1/principals", json=AGENT, headers=ada)
    before, seen = world.principal("agent", "shop-1"), []
    directory, feed = world.services.directory, world.services.feed

    def watch(event):
        stored = directory.get(PrincipalKind.AGENT, "shop-1")
        seen.append((event.method, feed.reason(before, None), stored.state, stored.rotated_at))

    world.recorder.watch = watch
    assert control.post(f"{ONE}/{verb}", headers=ada).status_code == 200
    ((method, reason, state, rotated_at),) = seen
    assert (method, state, rotated_at) == (f"principals.{verb}", "active", 0)
    assert reason is not None


@pytest.mark.parametrize("verb", ["suspend", "revoke", "rotate"])
def test_a_cut_stays_when_the_database_fails_and_the_operator_hears_of_it(
    control, world, ada, verb
):
    control.post("/api/v1/principals", json=AGENT, headers=ada)
    before = world.principal("agent", "shop-1")

    def broken(record):
        raise OSError("disk")

    world.services.directory.put = broken
    answer = control.post(f"{ONE}/{verb}", headers=ada)
    assert (answer.status_code, answer.json()["code"]) == (500, "PC9002")
    assert world.services.feed.reason(before, None) is not None


def test_a_resumed_principal_acts_only_after_log_and_database_have_it(control, world, ada):
    control.post("/api/v1/principals", json=AGENT, headers=ada)
    control.post(f"{ONE}/suspend", headers=ada)
    before, seen = world.principal("agent", "shop-1"), []
    feed = world.services.feed
    world.recorder.watch = lambda event: seen.append(feed.reason(before, None))
    put = world.services.directory.put
    world.services.directory.put = lambda new: seen.append(feed.reason(before, None)) or put(new)
    assert control.post(f"{ONE}/resume", headers=ada).json()["state"] == "active"
    assert None not in seen
    assert len(seen) == 2
    assert feed.reason(before, None) is None


def test_a_suspended_principal_is_refused_from_its_next_request_on(control, world, ada, vic):
    assert control.get("/api/v1/version", headers=vic).json() == {"version": "1.2.3"}
    suspended = control.post("/api/v1/principals/operator/vic/suspend", headers=ada)
    assert suspended.json()["state"] == "suspended"
    answer = control.get("/api/v1/version", headers=vic)
    assert (answer.status_code, answer.json()["code"]) == (403, "PC4001")
    assert control.post("/api/v1/principals/operator/vic/resume", headers=ada).status_code == 200
    assert control.get("/api/v1/version", headers=vic).status_code == 200


def test_rotation_ends_what_there_is_and_not_what_comes(control, world, ada, vic):
    rotated = control.post("/api/v1/principals/operator/vic/rotate", headers=ada)
    assert rotated.json()["state"] == "active"
    answer = control.get("/api/v1/version", headers=vic)
    assert (answer.status_code, answer.json()["code"]) == (403, "PC4001")
    world.clock.time += 0.001
    new = world.bearer("operator", "vic", roles=("viewer",))
    assert control.get("/api/v1/version", headers=new).status_code == 200


def test_one_credential_is_cut_off_and_no_other(control, world, ada, vic):
    other = world.bearer("operator", "vic", roles=("viewer",))
    token = vic["authorization"].removeprefix("Bearer ")
    credential = world.services.authority.verify(token).jti
    answer = control.post(f"/api/v1/credentials/{credential}/revoke", headers=ada)
    assert answer.json() == {"credential": credential, "state": "revoked"}
    assert control.get("/api/v1/version", headers=vic).json()["code"] == "PC4001"
    assert control.get("/api/v1/version", headers=other).status_code == 200
    event = next(e for e in world.recorder.events if e.method == "credentials.revoke")
    assert (event.name, event.principal, event.verdict) == (credential, "ada", "allow")
    world.recorder.full = True
    control.post("/api/v1/credentials/svid:ab12/revoke", headers=ada)
    holder = world.principal("agent", "shop-1", svid="ab12")
    assert world.services.feed.reason(holder, None) == "its credential was revoked"
