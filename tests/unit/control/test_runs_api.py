"""If these fail, a box is on record that another reported, or one that is not has an agent."""

import pytest
from schemathesis import GenerationMode
from starlette.testclient import TestClient

from portcullis.control import runs_api
from unit.control.test_openapi import attack

BOX = {"command": "python3", "profile": "strict", "adapter": "runc", "enforced": ["memory", "user"]}


@pytest.fixture
def runs(world):
    services = world.services
    app = world.app(routers=lambda edge: (runs_api.router(edge, runs_api.of(services)),))
    return TestClient(app)


def test_a_box_is_on_record_with_what_holds_it_and_what_does_not(runs, world):
    headers = world.bearer("agent", "shop")
    answer = runs.post("/v1/runs", json=BOX | {"agent": "shop"}, headers=headers)
    assert answer.status_code == 201
    run = answer.json()["run"]
    end = {"agent": "shop", "why": "signalled", "status": 143}
    assert runs.post(f"/v1/runs/{run}/end", json=end, headers=headers).status_code == 204
    start, ended = [one for one in world.recorder.events if one.method.startswith("run.")]
    assert start.parameters["enforced"] == ["memory", "user"]
    assert "kernel" in start.parameters["lacking"]
    assert (start.principal, start.name) == ("shop", "agent:shop")
    assert ended.parameters == {"run": run, "why": "signalled", "status": 143}


def test_what_is_on_no_record_does_not_begin(runs, world):
    headers = world.bearer("agent", "shop")
    world.recorder.full = True
    answer = runs.post("/v1/runs", json=BOX | {"agent": "shop"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "PC6001")


@pytest.mark.parametrize("kind", ["application", "agent"])
def test_nobody_reports_for_another(runs, world, kind):
    headers = world.bearer(kind, "web")
    answer = runs.post("/v1/runs", json=BOX | {"agent": "shop"}, headers=headers)
    assert answer.json()["code"] == "PC2004"
    assert not [one for one in world.recorder.events if one.method == "run.start"]


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_generated_reports_find_no_fault(runs, world, mode):
    assert attack(runs, world, world.bearer("agent", "shop"), mode) > 0
