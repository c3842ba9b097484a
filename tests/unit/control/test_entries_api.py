import base64
import hashlib

import pytest

from portcullis.core.principal import PrincipalKind

ENTRIES = "/api/v1/entries"
BODY = {
    "kind": "agent",
    "principal": "shop-1",
    "selectors": ["unix:uid:1000", "unix:path:/usr/bin/shop"],
}


@pytest.fixture
def ada(world):
    return world.bearer("operator", "ada", roles=("admin",))


@pytest.fixture(autouse=True)
def programs(world):
    world.register("agent", "shop-1")
    world.register("agent", "shop-2")
    world.register("application", "web")


def test_an_entry_is_added_found_and_removed(control, world, ada):
    created = control.post(ENTRIES, json=BODY | {"ttl_seconds": 60}, headers=ada)
    assert created.status_code == 201
    entry = created.json()
    assert entry["selectors"] == ["unix:path:/usr/bin/shop", "unix:uid:1000"]
    assert (entry["ttl_seconds"], entry["created_at"]) == (60, world.clock.now())
    event = world.recorder.last
    assert (event.method, event.name, event.principal) == ("entries.add", "agent:shop-1", "ada")
    assert event.parameters["selectors"] == entry["selectors"]
    web = control.post(
        ENTRIES, json=BODY | {"kind": "application", "principal": "web"}, headers=ada
    )
    vic = world.bearer("operator", "vic", roles=("viewer",))
    for query, found in (
        ("", [entry, web.json()]),
        ("?kind=agent", [entry]),
        ("?kind=agent&principal=shop-2", []),
        ("?principal=web", [web.json()]),
    ):
        assert control.get(f"{ENTRIES}{query}", headers=vic).json()["entries"] == found
    assert control.delete(f"{ENTRIES}/{entry['id']}", headers=ada).status_code == 204
    assert world.recorder.last.method == "entries.remove"
    again = control.delete(f"{ENTRIES}/{entry['id']}", headers=ada)
    assert (again.status_code, again.json()["code"]) == (404, "PC2010")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"principal": "nobody"}, 403, "PC2007"),
        ({"kind": "operator"}, 400, "PC1020"),
        ({"selectors": []}, 400, "PC1020"),
        ({"selectors": ["unix:uid:root"]}, 400, "PC1020"),
        ({"selectors": ["anything"]}, 400, "PC1020"),
        ({"ttl_seconds": 259_201}, 400, "PC1020"),
        ({"ttl_seconds": -1}, 400, "PC1020"),
        ({"extra": 1}, 400, "PC1021"),
    ],
)
def test_a_bad_entry_is_refused(control, world, ada, changes, status, code):
    answer = control.post(ENTRIES, json=BODY | changes, headers=ada)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert world.services.registrations.entries() == ()


def test_who_is_cut_off_gets_neither_entry_nor_join_token(control, world, ada):
    control.post("/api/v1/principals/agent/shop-1/suspend", headers=ada)
    for path, body in ((ENTRIES, BODY), ("/api/v1/principals/agent/shop-1/join", {})):
        answer = control.post(path, json=body, headers=ada)
        assert (answer.status_code, answer.json()["code"]) == (403, "PC4001")


def test_a_join_token_is_kept_as_its_hash_alone_and_ends_in_time(control, world, ada):
    path = "/api/v1/principals/agent/shop-1/join"
    answer = control.post(path, json={"ttl_seconds": 60}, headers=ada)
    assert answer.status_code == 201
    token = answer.json()["join_token"]
    assert len(base64.urlsafe_b64decode(token + "=")) == 32
    assert answer.json()["expires_at"] == world.clock.now() + 60
    event = world.recorder.last
    assert (event.method, event.name) == ("join.create", "agent:shop-1")
    assert token not in repr(world.recorder.events)
    digest = hashlib.sha256(token.encode()).digest()
    assert event.parameters["fingerprint"] == digest.hex()
    joined = world.services.registrations.joined
    assert joined(token.encode()[:32], world.clock.now()) is None
    assert joined(digest, world.clock.now() + 59.9) == (PrincipalKind.AGENT, "shop-1")
    assert joined(digest, world.clock.now()) is None
    other = control.post(path, json={}, headers=ada).json()
    assert other["expires_at"] == world.clock.now() + 600
    late = hashlib.sha256(other["join_token"].encode()).digest()
    assert joined(late, world.clock.now() + 600) is None


def test_operators_do_not_join(control, ada):
    answer = control.post("/api/v1/principals/operator/vic/join", json={}, headers=ada)
    assert (answer.status_code, answer.json()["code"]) == (400, "PC1020")
