"""The story says "as told" only for what happened and is in the log."""

from datetime import UTC, datetime

import pytest

from portcullis.core.event import Event, EventType
from portcullis.demo import ledger
from portcullis.demo.ledger import Ledger
from portcullis.demo.story import Ending, Scene, tell

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(ledger, "_PATIENCE", 0.1)


def event(name: str) -> Event:
    return Event(v=1, id=name, time=datetime.now(UTC), type=EventType.DECISION, gateway="g")


def scene(play) -> Scene:
    return Scene("a title", "an attempt", "an expectation", play)


async def told(log: list[Event], *plays):
    book = Ledger(lambda: log)
    return [step async for step in tell([scene(play) for play in plays], None, book)]


async def test_a_step_names_its_proof_first_and_never_an_earlier_record():
    log = [event("before")]

    async def first(_):
        log.extend([event("noise"), event("proof")])
        return Ending(ok=True, actual="done", recorded=lambda e: e.id == "proof")

    async def second(_):
        log.append(event("later"))
        return Ending(ok=True, actual="done")

    steps = await told(log, first, second)
    assert [step.ok for step in steps] == [True, True]
    assert steps[0].events == ("proof", "before", "noise")
    assert steps[1].events == ("later",)


async def test_what_is_not_in_the_log_has_not_gone_as_told():
    async def play(_):
        return Ending(ok=True, actual="done", recorded=lambda e: e.id == "missing")

    (step,) = await told([event("another")], play)
    assert not step.ok
    assert "no record" in step.actual


async def test_a_scene_that_raises_is_told_and_the_story_goes_on():
    async def broken(_):
        raise RuntimeError("out of order")

    async def fine(_):
        return Ending(ok=True, actual="done")

    steps = await told([], broken, fine)
    assert [step.ok for step in steps] == [False, True]
    assert steps[0].actual == "RuntimeError: out of order"


async def test_a_record_that_comes_a_moment_later_counts(monkeypatch):
    monkeypatch.setattr(ledger, "_PATIENCE", 2.0)
    reads = iter([[], [], [event("late")]])
    book = Ledger(lambda: next(reads))
    assert [e.id for e in await book.fresh(lambda e: e.id == "late")] == ["late"]
