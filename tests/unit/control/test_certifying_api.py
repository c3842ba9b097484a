"""If these fail, somebody confirms what he did not look at, or a review changes policy itself."""

import contextlib

import pytest

from portcullis.core.errors import Problem
from portcullis.core.release import File, Release, Stage, text_digest

PATH = "/api/v1/policy/review"
AGENTS = "/api/v1/policy/agents"
TEXT = """\
version: 1
agents:
  shop-1: {role: support, owner: shop}
  shop-2: {role: support, owner: shop}
  ops-1: {role: ops}
roles:
  support: {allowed_tools: [crm.note, crm.find]}
  ops:
    allowed_tools:
      - crm.note
      - crm.drop
tools:
  crm.note: {risk: modify}
  crm.find: {risk: read}
  crm.drop: {risk: delete}
"""
ROLES = {"ada": "admin", "bea": "approver", "vic": "viewer"}
WHY = {"reason": "looked at it"}


def operator(world, name):
    with contextlib.suppress(Problem):  # some are there already
        world.register("operator", name, [ROLES[name]])
    return world.bearer("operator", name, roles=(ROLES[name],))


@pytest.fixture
def inforce(world):
    """A policy in force: its release."""
    files = (File(name="policy/main.yaml", text=TEXT),)
    release = Release(
        number=0,
        digest=f"sha256:{'0' * 64}",
        text=text_digest(files),
        origin="folder",
        proposed_by="",
        proposed_at=1.0,
        stage=Stage.ACTIVE,
        active_at=1.0,
    )
    return world.services.release_parts.book.first(release, files)


def test_before_there_is_a_policy_there_is_nothing_to_confirm(control, world):
    assert control.get(PATH, headers=operator(world, "vic")).json()["code"] == "PC7030"


def test_who_reads_may_not_confirm_and_what_is_confirmed_is_what_is_in_force(
    control, world, inforce
):
    ada, bea, vic = (operator(world, name) for name in ROLES)
    shown = control.get(PATH, headers=vic).json()
    assert (shown["release"], shown["counts"]["high"]) == (inforce.number, 1)
    assert [one["kind"] for one in shown["findings"] if one["severity"] == "high"] == ["ownerless"]
    one = f"{AGENTS}/shop-1"
    body = WHY | {"release": inforce.number}
    for other in (bea, vic):
        refused = control.post(f"{one}/confirm", json=body, headers=other)
        assert refused.json()["code"] == "PC2004"
        assert control.post(PATH, headers=other).json()["code"] == "PC2004"
    late = control.post(f"{one}/confirm", json=body | {"release": 7}, headers=ada)
    assert late.json()["code"] == "PC7045"
    nobody = control.post(f"{AGENTS}/nobody-1/confirm", json=body, headers=ada)
    assert nobody.json()["code"] == "PC7049"
    done = control.post(f"{one}/confirm", json=body, headers=ada).json()
    assert (done["by"], done["said"], done["owner"]) == ("ada", "confirmed", "shop")
    history = control.get(f"{one}/certificates", headers=vic).json()["certificates"]
    assert history == [done]
    again = control.get(PATH, headers=vic).json()["agents"]
    confirmed = {one["agent"]: one["confirmed_by"] for one in again}
    assert confirmed == {"ops-1": "", "shop-1": "ada", "shop-2": ""}


def test_a_confirmation_that_is_not_on_record_does_not_count(control, world, inforce):
    ada = operator(world, "ada")
    world.recorder.full = True
    body = WHY | {"release": inforce.number}
    refused = control.post(f"{AGENTS}/shop-1/confirm", json=body, headers=ada)
    assert refused.status_code >= 500
    assert world.services.certifying_parts.book.confirmed() == {}


def test_what_is_revoked_is_proposed_and_in_force_only_when_somebody_approves_it(
    control, world, inforce
):
    ada = operator(world, "ada")
    path = {"grant": "roles.support.allowed_tools[1]"}
    shared = control.post(f"{AGENTS}/shop-1/revoke-grant", json=WHY | path, headers=ada).json()
    assert (shared["code"], "shop-2" in shared["detail"]) == ("PC7047", True)
    gone = {"grant": "roles.ops.allowed_tools[1]"}
    done = control.post(f"{AGENTS}/ops-1/revoke-grant", json=WHY | gone, headers=ada).json()
    certificate = done["certificate"]
    assert certificate["grant"].startswith("roles.ops.allowed_tools[1] crm.drop @ ")
    book = world.services.release_parts.book
    proposed = book.get(certificate["led_to"])
    assert (proposed.stage, proposed.proposed_by) == (Stage.PROPOSED, "ada")
    text = TEXT.replace("      - crm.drop\n", "")
    assert book.files(proposed.number) == (File(name="policy/main.yaml", text=text),)
    assert book.standing().active.number == inforce.number
    assert "-      - crm.drop" in done["patch"]
