"""If these fail, who asks for a decision waits for ever, or a fault is taken for a yes."""

import asyncio

import pytest

from policies import call
from portcullis.core.call import Route
from portcullis.core.errors import Problem
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.verdict import Allow, Deny
from portcullis.gateway.decisions import Asker, Decisions
from portcullis.gateway.outcome import Outcome

pytestmark = pytest.mark.anyio
ASKER = Asker(
    principal=Principal(
        kind=PrincipalKind.APPLICATION, id="pep", credential="cred-1", expires_at=9.0
    ),
    source="127.0.0.1:1",
    trace_id="0" * 32,
)


class Line:
    """In place of a pipeline: decides as it is told, and remembers."""

    def __init__(self, *, seconds=0.0, unrecorded=False):
        self.seconds, self.unrecorded = seconds, unrecorded
        self.seen, self.told = [], []

    async def request(self, asked, around):
        await asyncio.sleep(self.seconds)
        self.seen.append(around)
        return Outcome(verdict=Allow(rule="r"), call=asked, event="e-1")

    async def elsewhere(self, outcome, around):
        return Deny(code="PC6001", reason="full") if self.unrecorded else None

    def refused(self, problem, kind, **where):
        self.told.append((problem.code, where))
        return problem


class Sessions:
    async def get(self, session):
        return None


class Clock:
    def now(self):
        return 5.0


async def registered(agent):
    if agent != "worker":
        raise Problem("PC2007", "there is no agent of this name")


def decisions(line, seconds=1.0):
    return Decisions(line, Sessions(), registered, Clock(), seconds)


async def test_the_agent_is_decided_on_under_the_askers_credential():
    line = Line()
    said = await decisions(line).decide(call(), "worker", "", ASKER)
    assert isinstance(said.verdict, Allow)
    who = line.seen[0].principal
    assert (who.kind, who.id, who.credential, who.issued_at) == ("agent", "worker", "cred-1", 5.0)


@pytest.mark.parametrize(
    ("agent", "session", "line", "code"),
    [
        ("worker", "", Line(seconds=5), "PC3037"),
        ("nobody", "", Line(), "PC2007"),
        ("worker", "s-9", Line(), "PC2006"),
        ("worker", "", Line(unrecorded=True), "PC6001"),
    ],
    ids=["late", "unknown", "no session", "unrecorded"],
)
async def test_whatever_goes_wrong_is_a_no(agent, session, line, code):
    said = await decisions(line, 0.2).decide(call(), agent, session, ASKER)
    assert isinstance(said.verdict, Deny)
    assert said.verdict.code == code
    if code != "PC6001":
        ((told, where),) = line.told
        assert (told, where["principal"], where["application"]) == (code, agent, "pep")
        assert where["route"] == call().route


async def test_of_questions_that_go_together_the_last_ones_are_too_late():
    asked = decisions(Line(seconds=0.15), 0.5)
    until = asked.deadline()
    said = [await asked.decide(call(), "worker", "", ASKER, until) for _ in range(5)]
    assert isinstance(said[0].verdict, Allow)
    assert said[-1].verdict.code == "PC3037"


def test_what_is_no_question_is_recorded_under_its_route():
    line = Line()
    said = decisions(line).refused(Problem("PC1020", "no"), Route.EXT_AUTHZ, "", ASKER)
    assert said.verdict.code == "PC1020"
    assert line.told[0][1]["route"] == "ext-authz"
