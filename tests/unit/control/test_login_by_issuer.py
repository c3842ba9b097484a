"""If these fail, an issuer that is trusted for operators is trusted for too much, or too little."""

import asyncio
import dataclasses
import secrets
import threading

import msgspec
import pytest

from portcullis.core.credential import Presented
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.identity.oidc import Person

OPERATOR = PrincipalKind.OPERATOR


def refused(answer, code="PC2070"):
    assert answer.json()["code"] == code
    return answer.status_code


PERSON = Person(
    issuer="corp", subject="u-7", groups=("ops",), roles=("responder",), expires_at=1_800_000_300
)


def test_an_issuer_vouches_for_an_operator_who_is_registered_and_can_be_cut_off(control, world):
    world.services.id_tokens.known["good"] = PERSON
    answer = control.post("/api/v1/login", json={"id_token": "good"})
    assert answer.status_code == 201
    assert answer.json()["expires_at"] == 1_800_000_300
    principal = world.services.authority.authenticate(Presented(token=answer.json()["token"]))
    assert principal.roles == ("responder",)
    assert principal.id.startswith("oidc-")
    assert "u-7" not in repr(world.recorder.events)
    record = world.services.directory.get(OPERATOR, principal.id)
    assert (record.owner, record.roles) == ("corp", ("responder",))
    ada = world.bearer("operator", "ada", roles=("admin",))
    suspended = f"/api/v1/principals/operator/{principal.id}/suspend"
    assert control.post(suspended, headers=ada).status_code == 200
    assert refused(control.post("/api/v1/login", json={"id_token": "good"}), "PC2072") == 401
    assert world.recorder.last.principal == principal.id


def test_an_address_that_the_issuer_verified_is_known_from_then_on(control, world):
    people = world.services.id_tokens.known
    for email in ("", "ada@shop.example", "", "ada@new.example"):
        people["good"] = msgspec.structs.replace(PERSON, email=email)
        assert control.post("/api/v1/login", json={"id_token": "good"}).status_code == 201
    record = next(r for r in world.services.directory.list(OPERATOR) if r.owner == "corp")
    assert record.users == ("ada@new.example", "ada@shop.example")
    assert "shop.example" not in repr(world.recorder.events)


@pytest.mark.anyio
async def test_two_logins_at_once_make_both_addresses_known(world, monkeypatch):
    people, logins = world.services.id_tokens.known, world.services.logins("control")
    people["first"] = PERSON
    await logins.id_token("first", source="127.0.0.1:1")
    names = ("ada@new.example", "ada@shop.example")
    people |= {name: msgspec.structs.replace(PERSON, email=name) for name in names}
    together, directory = threading.Barrier(2, timeout=5), world.services.directory
    get, waited = directory.get, iter(range(2))

    def slow(kind, name):
        found = get(kind, name)
        if next(waited, None) is not None:  # both have read it before either writes
            together.wait()
        return found

    monkeypatch.setattr(directory, "get", slow)
    await asyncio.gather(*(logins.id_token(name, source="127.0.0.1:1") for name in names))
    (record,) = (one for one in directory.list(OPERATOR) if one.owner == "corp")
    assert record.users == names
    counts = [one.parameters["users"] for one in world.recorder.events if "users" in one.parameters]
    assert counts == [1, 2]


def test_who_an_operator_is_as_a_user_is_an_administrators_word(control, world):
    ada = world.bearer("operator", "ada", roles=("admin",))
    body = {"kind": "operator", "id": "bea", "owner": "it", "roles": ["approver"]}
    made = control.post("/api/v1/principals", json=body | {"users": ["b@x", "b@x"]}, headers=ada)
    assert made.json()["users"] == ["b@x"]
    path = "/api/v1/principals/operator/bea/users"
    changed = control.post(path, json={"users": ["corp:u-8", "b@y"]}, headers=ada)
    assert changed.json()["users"] == ["b@y", "corp:u-8"]
    assert world.recorder.last.parameters == {"users": 2}
    bea = world.bearer("operator", "cy", roles=("approver",))
    assert control.post(path, json={"users": []}, headers=bea).status_code == 403
    for bad in (["a\nb"], [""], ["x"] * 17, "x"):
        answer = control.post(path, json={"users": bad}, headers=ada)
        assert answer.json()["code"] == "PC1020"


def test_roles_follow_the_issuer_and_end_the_tokens_that_name_the_old_ones(control, world):
    world.services.id_tokens.known["good"] = PERSON
    first = control.post("/api/v1/login", json={"id_token": "good"}).json()["token"]
    world.services.id_tokens.known["good"] = msgspec.structs.replace(PERSON, roles=("viewer",))
    clock = world.clock
    put = world.services.directory.put

    def slow(record):
        clock.time += 0.01
        return put(record)

    world.services.directory.put = slow
    second = control.post("/api/v1/login", json={"id_token": "good"}).json()["token"]
    path = "/api/v1/version"
    answer = control.get(path, headers={"authorization": f"Bearer {first}"})
    assert refused(answer, "PC4001") == 403
    assert control.get(path, headers={"authorization": f"Bearer {second}"}).status_code == 200


def test_an_id_token_that_is_not_good_is_refused_and_recorded_without_it(control, world):
    answer = control.post("/api/v1/login", json={"id_token": "forged-token"})
    assert refused(answer, "PC2072") == 401
    event = world.recorder.last
    assert (event.method, event.verdict, event.code) == ("login", "deny", "PC2072")
    assert "forged-token" not in repr(world.recorder.events)


def test_an_operator_of_an_issuer_gets_no_password(control, world):
    world.services.id_tokens.known["good"] = PERSON
    control.post("/api/v1/login", json={"id_token": "good"})
    name = world.services.directory.list(OPERATOR)[-2].id
    assert name.startswith("oidc-")
    ada = world.bearer("operator", "ada", roles=("admin",))
    body = {"password": secrets.token_hex(12)}
    answer = control.post(f"/api/v1/principals/operator/{name}/password", json=body, headers=ada)
    assert refused(answer, "PC2004") == 403


@pytest.mark.anyio
async def test_without_an_issuer_no_id_token_is_taken(world):
    logins = dataclasses.replace(world.services, id_tokens=None).logins("control")
    with pytest.raises(Problem, match="PC2072"):
        await logins.id_token("good", source="127.0.0.1:1")
