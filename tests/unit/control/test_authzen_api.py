"""If these fail, an odd question is a fault of the gate's, or somebody asks who may not."""

from dataclasses import dataclass

import pytest
from fastapi.testclient import TestClient
from schemathesis import GenerationMode

from effort import examples
from portcullis.control import authzen_api
from portcullis.core.verdict import Allow, Deny
from unit.control.conftest import Behind
from unit.control.test_openapi import attack

ONE, ALL = authzen_api.EVALUATION, authzen_api.EVALUATIONS
QUESTION = {
    "subject": {"type": "agent", "id": "shop-1"},
    "action": {"name": "call"},
    "resource": {"type": "tool", "id": "kb.search"},
}


@dataclass
class Said:
    verdict: Allow | Deny
    event: str = ""


class Decides:
    def __init__(self):
        self.asked, self.until, self.asked_at = [], [], 0

    def deadline(self):
        self.asked_at += 1
        return float(self.asked_at)

    async def decide(self, asked, agent, session, asker, until):
        self.until.append(until)
        self.asked.append((asked.server, asked.name, agent, session, asker.context.principal.id))
        return Said(Allow(rule="roles.r @ f:1", policy="sha256:aa"), "e-1")

    def refused(self, problem, agent, asker):
        return Said(Deny(code=problem.code, reason=problem.detail))


@pytest.fixture
def decides():
    return Decides()


@pytest.fixture
def pdp(world, decides):
    """A client of the gate's API, of which the application ``web`` may ask."""
    for kind, name in (("agent", "shop-1"), ("application", "web"), ("application", "other")):
        world.register(kind, name)
    services = world.services

    def routers(edge):
        asking = (decides, ["web"], services.authority.stands_for, services.new_id)
        return (authzen_api.router(edge, *asking), authzen_api.metadata(edge))

    app = Behind(world.app(routers=routers), world)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_a_question_is_put_as_the_call_that_it_is(pdp, world, decides):
    asked = QUESTION | {"context": {"ip": "10.0.0.1"}, "unheard-of": 1}
    asked["subject"] = asked["subject"] | {"properties": {"session": "s-1", "department": "x"}}
    said = pdp.post(ONE, json=asked, headers=world.bearer("application", "web"))
    assert (said.status_code, said.json()) == (
        200,
        {
            "decision": True,
            "context": {"rule": "roles.r @ f:1", "policy": "sha256:aa", "event": "e-1"},
        },
    )
    assert decides.asked == [("kb", "search", "shop-1", "s-1", "web")]


def test_what_is_asked_together_is_answered_in_the_time_of_one(pdp, world, decides):
    several = QUESTION | {"evaluations": [{}, {}, {}]}
    headers = world.bearer("application", "web")
    assert len(pdp.post(ALL, json=several, headers=headers).json()["evaluations"]) == 3
    assert pdp.post(ALL, json=QUESTION, headers=headers).json()["decision"]
    assert decides.until == [1.0, 1.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("caller", "code"),
    [(("application", "other"), "PC3034"), (("agent", "shop-1"), "PC2004"), (None, "PC2001")],
    ids=["not named", "an agent", "nobody"],
)
def test_who_may_not_ask_is_not_answered(pdp, world, decides, caller, code):
    headers = {} if caller is None else world.bearer(*caller)
    for path in (ONE, ALL):
        said = pdp.post(path, json=QUESTION, headers=headers)
        assert (said.status_code in {401, 403}, said.json()["code"]) == (True, code)
    assert decides.asked == []


@pytest.mark.parametrize("sent", ["a b", "x" * 256])
def test_a_request_id_comes_back(pdp, world, sent):
    headers = world.bearer("application", "web") | {"X-Request-ID": sent}
    assert pdp.post(ONE, json=QUESTION, headers=headers).headers["X-Request-ID"] == sent
    assert pdp.post(ONE, json={}, headers=headers).headers["X-Request-ID"] == sent


def test_a_request_id_that_no_header_should_hold_does_not(pdp, world):
    headers = world.bearer("application", "web") | {"X-Request-ID": "x" * 257}
    assert "X-Request-ID" not in pdp.post(ONE, json=QUESTION, headers=headers).headers


@pytest.mark.nightly
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_generated_questions_find_no_fault(pdp, world, mode):
    headers = world.bearer("application", "web")
    assert attack(pdp, world, headers, mode) >= 2 * examples(6)
