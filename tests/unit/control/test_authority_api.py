import base64

import pytest
from starlette.testclient import TestClient

from authorities import AGENT, leaf_key, root_of
from authorities import World as AuthorityWorld
from portcullis.control.authority import TrustDomain, routers
from portcullis.identity.authority_files import Files
from portcullis.identity.in_force import digest, root_keys

KEY = leaf_key().public_key()


@pytest.fixture
def ours(tmp_path):
    folder = tmp_path / "authority"
    folder.mkdir()
    return AuthorityWorld(folder, 1_800_000_000.0)


@pytest.fixture
def authority(ours):
    return ours.open()


@pytest.fixture
def plane(world, authority):
    """A control plane with the authority's routes; ``ada`` is an admin, ``vic`` a viewer."""
    world.register("operator", "ada", ["admin"])
    world.register("operator", "vic", ["viewer"])
    edge = world.services.edge("control")
    api = edge.app("test", "1")
    domain = TrustDomain(authority, world.services.records(), "control")
    for router in routers(edge, domain):
        api.include_router(router)
    with TestClient(api, raise_server_exceptions=False) as client:
        yield client


def admin(world):
    return world.bearer("operator", "ada", roles=("admin",))


def viewer(world):
    return world.bearer("operator", "vic", roles=("viewer",))


def test_a_viewer_sees_the_keys_and_no_secret(world, plane, authority):
    answer = plane.get("/api/v1/authority", headers=viewer(world))
    assert answer.status_code == 200
    assert answer.json()["sequence"] == 1
    assert {(key["kind"], key["state"]) for key in answer.json()["keys"]} == {
        ("root", "active"),
        ("signing", "active"),
        ("jwt", "active"),
    }


@pytest.mark.parametrize("what", ["signing", "root", "jwt"])
def test_a_rotation_is_recorded_before_it_is_done(world, plane, authority, what):
    seen = []
    world.recorder.watch = lambda event: seen.append((event.method, authority.bundle().sequence))
    answer = plane.post(f"/api/v1/authority/{what}/rotate", json={}, headers=admin(world))
    assert answer.status_code == 200, answer.text
    assert answer.json()["sequence"] == 2
    assert seen == [(f"authority.rotate.{what}", 1)]
    assert (world.recorder.last.principal, world.recorder.last.verdict) == ("ada", "allow")


@pytest.mark.parametrize(
    ("path", "body"),
    [("root/rotate", {}), ("root/retire", None), ("root/offline", {"digests": {}})],
)
def test_only_administrators_change_the_authority(world, plane, authority, path, body):
    before = authority.bundle()
    for headers, status in ((viewer(world), 403), ({}, 401)):
        answer = plane.post(f"/api/v1/authority/{path}", json=body, headers=headers)
        assert answer.status_code == status
    assert authority.bundle() is before
    assert world.recorder.last.verdict == "deny"


def test_without_a_record_nothing_is_rotated(world, plane, authority):
    before = authority.bundle()
    world.recorder.full = True
    answer = plane.post("/api/v1/authority/root/rotate", json={}, headers=admin(world))
    assert answer.json()["code"] == "PC6001"
    assert authority.bundle() is before


def test_retiring_without_an_old_key_is_refused_with_what_to_do(world, plane):
    answer = plane.post("/api/v1/authority/root/retire", headers=admin(world))
    assert answer.json()["code"] == "PC7008"
    assert "rotate" in answer.json()["hint"]
    assert (world.recorder.last.verdict, world.recorder.last.code) == ("deny", "PC7008")


def test_the_root_goes_offline_only_when_a_copy_is_shown_and_then_its_key_is_needed(
    world, plane, ours, authority
):
    kept = root_keys(Files(ours.directory), authority.state())
    wrong = {"digests": dict.fromkeys(kept, "00")}
    url, headers = "/api/v1/authority", admin(world)
    assert plane.post(f"{url}/root/offline", json=wrong, headers=headers).status_code == 500
    right = {"digests": {name: digest(key) for name, key in kept.items()}}
    assert plane.post(f"{url}/root/offline", json=right, headers=headers).status_code == 200
    assert plane.post(f"{url}/signing/rotate", json={}, headers=headers).json()["code"] == "PC7008"
    key = base64.b64encode(next(iter(kept.values()))).decode()
    for bad in ("!", key[:-8] + "AAAAAAAA", "", "A" * 8193):
        answer = plane.post(f"{url}/signing/rotate", json={"root_key": bad}, headers=headers)
        assert answer.status_code in {400, 500}
        assert key[:40] not in answer.text
    answer = plane.post(f"{url}/signing/rotate", json={"root_key": key}, headers=headers)
    assert answer.status_code == 200
    assert root_of(authority.bundle(), authority.issue(AGENT, KEY))


def test_unknown_keys_and_words_are_refused(world, plane):
    headers = admin(world)
    for path, body in (
        ("leaf/rotate", {}),
        ("signing/retire", None),
        ("root/rotate", {"force": True}),
    ):
        answer = plane.post(f"/api/v1/authority/{path}", json=body, headers=headers)
        assert answer.status_code == 400
