"""If these fail, quarantine waits for an upstream that is silent, or ends what may go on."""

import asyncio

import pytest

from portcullis.core.call import Action, Call, Route
from portcullis.core.errors import Problem
from portcullis.core.verdict import PASS, Deny
from portcullis.gateway.live import current_run, cuttable
from portcullis.gateway.underway import Underway

pytestmark = pytest.mark.anyio
NOT_LISTED = Deny(code="PC4010", reason="not on the list")


class Isolating:
    """A feed: who is isolated."""

    def __init__(self):
        self.who = set()

    def isolated(self, principal, session):
        del session
        return "odd" if principal.id in self.who else None


def call(name, action=Action.TOOL):
    return Call(
        id=name,
        route=Route.MCP_HTTP,
        action=action,
        server="shop",
        name=name,
        method="tools/call",
        arguments={},
        payload={},
        body=b"{}",
    )


def judge(one, context):
    del context
    return None if one.name == "listed" else NOT_LISTED


@pytest.fixture
def waiting(live, context):
    """Begins a call of an agent that waits for a silent upstream; why it was ended, if it was."""
    underway = Underway()
    tasks = []

    async def run(one, agent):
        asked = context(agent)
        with live.running(asked, None):
            underway.decided(one, asked, PASS)
            try:
                with cuttable():
                    await asyncio.sleep(0.2)
            except Problem as problem:
                underway.finished(one, asked, None, NOT_LISTED)
                return problem.code
            underway.finished(one, asked, None, None)
        assert current_run() is None
        return ""

    def begin(one, agent="shop-1"):
        tasks.append(asyncio.create_task(run(one, agent)))
        return tasks[-1]

    return underway, begin


async def test_what_may_not_go_on_is_ended_at_once_and_nothing_else(waiting):
    underway, begin = waiting
    feed = Isolating()
    some = [begin(call("delete")), begin(call("listed")), begin(call("delete-too"), "other")]
    asked = begin(call("ask", Action.SERVER_REQUEST))
    await asyncio.sleep(0.01)
    underway.sweep(feed, judge)
    feed.who = {"shop-1"}
    underway.sweep(feed, judge)
    underway.sweep(feed, judge)
    assert await some[0] == "PC4010"
    assert [await one for one in (*some[1:], asked)] == ["", "", ""]
    assert not underway._calls


async def test_a_call_that_is_decided_and_not_yet_reported_ends_nothing_of_a_later_request(
    live, waiting, context
):
    """As with the guard API: the request is over, and its task may serve the next one."""
    underway, _ = waiting
    with live.running(context(), None):
        underway.decided(call("delete"), context(), PASS)
    feed = Isolating()
    feed.who = {"shop-1"}
    underway.sweep(feed, judge)
    await asyncio.sleep(0)
    assert asyncio.current_task().cancelling() == 0
