"""If these fail, whoever may only look changes policy, or who is on duty cannot go back."""

import contextlib

from portcullis.core.errors import Problem

PATH = "/api/v1/policy/releases"
FILES = [{"name": "policy/main.yaml", "text": "version: 1"}]

ROLES = {"ada": "admin", "bob": "admin", "rae": "responder", "vic": "viewer"}


def operator(world, name):
    with contextlib.suppress(Problem):  # some are there already
        world.register("operator", name, [ROLES[name]])
    return world.bearer("operator", name, roles=(ROLES[name],))


def test_each_step_takes_its_role_and_a_person_of_its_own(control, world):
    ada, bob, rae, vic = (operator(world, name) for name in ROLES)
    proposal = {"files": FILES, "note": "the first"}
    for other in (vic, rae):
        assert control.post(PATH, json=proposal, headers=other).json()["code"] == "PC2004"
    made = control.post(PATH, json=proposal, headers=ada)
    assert (made.status_code, made.json()["stage"]) == (201, "proposed")
    one = f"{PATH}/{made.json()['number']}"
    reason = {"reason": "fine"}

    def refused(verb, who, **body):
        return control.post(f"{one}/{verb}", headers=who, **body).json()["code"]

    assert refused("activate", ada) == "PC7032"
    assert refused("approve", ada, json=reason) == "PC7033"
    for verb, body in (("approve", reason), ("canary", {"share": 5}), ("reject", reason)):
        assert refused(verb, rae, json=body) == "PC2004"
    assert control.post(f"{one}/approve", json=reason, headers=bob).json()["stage"] == "approved"
    moved = control.post(f"{one}/canary", json={"share": 5}, headers=ada).json()
    assert (moved["stage"], moved["share"]) == ("canary", 5)
    assert refused("rollback", vic, json=reason) == "PC2004"
    back = control.post(f"{one}/rollback", json=reason, headers=rae).json()
    assert (back["stage"], back["by"]) == ("rolled_back", "rae")
    shown = control.get(one, headers=vic).json()
    assert [one["by"] for one in shown["release"]["approvals"]] == ["bob"]
    assert control.get(f"{one}/files", headers=vic).json() == {"files": FILES}


def test_what_is_no_release_is_refused(control, world):
    ada = operator(world, "ada")
    for name in ("main.yaml", "policy/../x.yaml", "policy/a/b.yaml", "policy/.hidden"):
        body = {"files": [FILES[0] | {"name": name}], "note": "x"}
        assert control.post(PATH, json=body, headers=ada).json()["code"] == "PC1020"
    twice = control.post(PATH, json={"files": FILES * 2, "note": "x"}, headers=ada)
    assert twice.json()["code"] == "PC7004"
    assert control.get(f"{PATH}/99", headers=ada).json()["code"] == "PC7030"
    share = control.post(f"{PATH}/1/canary", json={"share": 51}, headers=ada)
    assert share.json()["code"] == "PC1020"


def test_nobody_gets_a_bundle_of_nothing(control, world):
    vic = operator(world, "vic")
    assert control.get("/bundles/portcullis.tar.gz", headers=vic).json()["code"] == "PC7030"
    assert control.get("/bundles/portcullis.tar.gz").json()["code"] == "PC2001"
