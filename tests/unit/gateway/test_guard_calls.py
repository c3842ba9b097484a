"""If these fail, one agent takes all the room for running calls, or another's call."""

import msgspec
import pytest

from portcullis.config import Limits
from portcullis.core.call import Action, Call, Route
from portcullis.core.errors import Problem
from portcullis.core.verdict import Allow
from portcullis.gateway import guard_calls
from portcullis.gateway.guard_calls import Running
from portcullis.gateway.outcome import Outcome


@pytest.fixture
def running():
    return Running(Limits(calls_in_flight=3, calls_per_agent=2))


def begin(running, context, number, body=b"{}"):
    call = Call(
        id=str(number),
        route=Route.GUARD,
        action=Action.TOOL,
        server="shop",
        name="look",
        method="tools/call",
        arguments={},
        payload={},
        body=body,
    )
    outcome = Outcome(verdict=Allow(rule="r"), call=call, event=call.id)
    return running.begin(outcome, context, 0.0)


def refused(running, context, size=2):
    try:
        with running.room(context, size):
            return ""
    except Problem as problem:
        return problem.code


def test_each_agent_has_its_share_of_the_places_and_gets_them_back(running, context):
    first, other, third = context("a"), context("b"), context("c")
    calls = []
    for number in (1, 2):
        assert refused(running, first) == ""
        calls.append(begin(running, first, number))
    assert (refused(running, first), refused(running, other)) == ("PC5025", "")
    calls.append(begin(running, other, 3))
    assert refused(running, third) == "PC5006"
    for one in calls:
        assert running.end(one)
        assert not running.end(one)
    assert [refused(running, one) for one in (first, other, third)] == ["", "", ""]
    assert len(running) == 0


def test_a_place_is_kept_while_a_call_is_decided_on(running, context):
    with running.room(context(), 2), running.room(context(), 2):
        assert refused(running, context()) == "PC5025"
    assert refused(running, context()) == ""


def test_large_calls_take_more_room(running, context, monkeypatch):
    monkeypatch.setattr(guard_calls, "MAX_BYTES", 100)
    assert refused(running, context("a"), 51) == "PC5025"
    begin(running, context("a"), 1, b"x" * 50)
    assert refused(running, context("a"), 1) == "PC5025"
    assert refused(running, context("b"), 50) == ""
    with running.room(context("b"), 50):
        assert refused(running, context("c"), 1) == "PC5006"


def test_a_result_is_claimed_by_whoever_was_allowed_the_call(running, context):
    mine = context("a", chain=("lead",))
    begin(running, mine, 1)
    elsewhere = msgspec.structs.replace(mine, session=msgspec.defstruct("S", ["id"])("s1"))
    for other in (context("b", chain=("lead",)), context("a"), elsewhere):
        assert running.claim("1", other) is None
    assert running.claim("2", mine) is None
    renewed = context("a", chain=("lead",), credential="t2")
    assert running.claim("1", renewed).id == "1"
    assert running.claim("1", renewed) is None


def test_nothing_begins_once_it_is_closed(running, context):
    running.close()
    with pytest.raises(Problem, match="PC5013"):
        begin(running, context(), 1)
    assert list(running) == []


def test_where_there_are_several_gateways_a_call_is_claimed_by_the_id_that_says_whose_it_is(
    context,
):
    running = Running(Limits(), lambda event: f"gate-1.{event}")
    mine = context("a")
    assert begin(running, mine, 7).id == "gate-1.7"
    assert running.claim("7", mine) is None
    assert running.claim("gate-1.7", mine).outcome.event == "7"
