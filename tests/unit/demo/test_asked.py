"""If these fail, who tries to cut the demonstration's agent off ends the demonstration."""

from types import SimpleNamespace

import pytest

from portcullis.demo import asked
from portcullis.demo.agent import Done

pytestmark = pytest.mark.anyio


async def test_an_agent_that_is_cut_off_goes_on_asking_and_says_so_once(monkeypatch):
    monkeypatch.setattr(asked, "_AGAIN_SECONDS", 0.0)
    waits = Done(text="", code="PC3040", approval="a1")
    cut = ExceptionGroup("unhandled", [ConnectionError("403")])
    answers = iter([waits, cut, cut, waits, Done(text="", data={"ticket_id": "T-0001"})])

    async def act(*_):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    told = []
    await asked.ask_on(SimpleNamespace(agent=SimpleNamespace(act=act)), told.append)
    first, last = told
    assert "goes on asking" in first
    assert last.endswith("went through: T-0001")
