"""If these fail, a gateway goes on under another's name, or is passed what it cannot get."""

import asyncio

import pytest

from portcullis.bootstrap import SystemClock
from portcullis.bootstrap.announcing import Announced
from portcullis.core.errors import Problem
from portcullis.core.hosts import Presence

pytestmark = pytest.mark.anyio

EDGE = Presence(name="edge", log="edge", host="h", at=1.0, apart=True, vkey="v", version="1")
OTHER = Presence(
    name="other",
    log="other",
    host="i",
    at=1.0,
    apart=True,
    vkey="w",
    version="1",
    urls={"relay": "10.0.0.7:7305"},
)


class Presences:
    def __init__(self, *answers):
        self.answers, self.said = list(answers), []

    def say(self, said, process, figures):
        self.said.append((said, figures))
        answer = self.answers.pop(0)
        if isinstance(answer, Problem):
            raise answer
        return bool(answer)

    def running(self):
        return (EDGE, OTHER)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr("portcullis.bootstrap.announcing.SAY_SECONDS", 0.0)


async def test_it_says_itself_again_after_a_fault_and_ends_when_the_name_is_anothers():
    presences, lost = Presences("held", Problem("PC9002", "gone"), "held", ""), []
    found = Announced(presences, EDGE, SystemClock(), lambda: lost.append(len(presences.said)))
    found.say({"gate": "http://127.0.0.1:1"})
    await asyncio.wait_for(found.run(lambda: b"x 1\n", lambda: "sha256:p"), 20)
    assert lost == [4]
    said, figures = presences.said[-1]
    assert (said.policy, said.urls, figures) == (
        "sha256:p",
        {"gate": "http://127.0.0.1:1"},
        b"x 1\n",
    )
    assert found.address("other") == "10.0.0.7:7305"
    assert found.address("edge") == "", "it runs, and takes nothing"
    assert found.address("nobody") is None
