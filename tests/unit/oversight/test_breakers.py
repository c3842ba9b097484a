"""If these fail, one agent takes an upstream from the others, or a failing one is not noticed."""

import pytest

from portcullis.config.breakers import AgentBreaker, UpstreamBreaker
from portcullis.core.call import Result
from portcullis.core.verdict import Deny
from portcullis.oversight.breakers import (
    MICROS,
    AgentWindow,
    Came,
    UpstreamWindow,
    Window,
    against_agent,
    of_agent,
    of_upstream,
)

SETTINGS = UpstreamBreaker(calls=10, errors=0.5, slow_seconds=2, slow=0.8, window_seconds=60)


def fed(window, *calls):
    """Feed (agent, failed) or (agent, seconds waited); what tripped, as who is concerned."""
    trips = []
    for number, (agent, what) in enumerate(calls):
        failed, waited = (what, 0.0) if isinstance(what, bool) else (False, what)
        trip = window.add(agent, 1000 + number / 1000, failed=failed, waited=waited)
        if trip is not None:
            trips.append(trip.agent or "everybody")
    return trips


def test_a_window_forgets_what_is_older():
    window = Window(60, 2)
    window.add(1000, 1, 1)
    window.add(1050, 1, 0)
    assert window.sums(1054) == (2, 1)
    assert window.sums(1061) == (1, 0)
    assert window.sums(1200) == (0, 0)


def test_an_upstream_that_fails_for_everybody_is_given_a_rest():
    calls = [(agent, True) for agent in ("a", "b", "c") * 4]
    assert fed(UpstreamWindow(SETTINGS), *calls)[0] == "everybody"


def test_fewer_calls_than_the_least_say_nothing():
    assert fed(UpstreamWindow(SETTINGS), *[(agent, True) for agent in "ababababa"]) == []


def test_an_upstream_that_mostly_works_goes_on():
    calls = [("a", False), ("b", False), ("a", False), ("a", True)] * 20
    assert fed(UpstreamWindow(SETTINGS), *calls) == []


@pytest.mark.parametrize("share", [1, 20])
def test_one_agent_cannot_break_an_upstream_off_for_its_neighbours(share):
    """The attacker fails as often as it likes: its neighbours' calls are all that counts."""
    neighbours = [("b", False), ("c", False)]
    calls = [("a", True)] * 500 + neighbours * share + [("a", True)] * 500
    assert set(fed(UpstreamWindow(SETTINGS), *calls)) == {"a"}


def test_nor_when_one_neighbour_had_a_single_bad_day():
    calls = [("a", True)] * 500 + [("b", True)] + [("a", True)] * 500
    assert set(fed(UpstreamWindow(SETTINGS), *calls)) == {"a"}


def test_nor_with_an_accomplice_among_neighbours_who_fare_well():
    good = [(agent, False) for agent in "cde" for _ in range(3)]
    bad = [("a", True), ("b", True)] * 200
    assert set(fed(UpstreamWindow(SETTINGS), *good, *bad)) == {"a", "b"}


def test_an_agent_that_sees_it_alone_is_broken_off_alone():
    assert set(fed(UpstreamWindow(SETTINGS), *[("a", True)] * 10)) == {"a"}


def test_a_slow_upstream_is_noticed_by_when_it_begins_to_answer():
    slow = [(agent, 2.5) for agent in ("a", "b") * 10]
    assert fed(UpstreamWindow(SETTINGS), *slow)[0] == "everybody"
    assert fed(UpstreamWindow(SETTINGS), *[(agent, 1.9) for agent in ("a", "b") * 10]) == []


@pytest.mark.parametrize(
    ("code", "came"),
    [
        ("PC5001", Came.BAD),
        ("PC5002", Came.BAD),
        ("PC5008", Came.BAD),
        ("PC5011", Came.BAD),
        ("PC5024", Came.BAD),
        ("PC5003", Came.NOTHING),  # a request can provoke what is not understood
        ("PC5006", Came.NOTHING),
        ("PC5025", Came.NOTHING),
        ("PC5014", Came.NOTHING),
        ("PC4001", Came.NOTHING),
        ("PC6001", Came.NOTHING),
    ],
)
def test_only_an_upstreams_own_failures_count_against_it(code, came):
    assert of_upstream(None, Deny(code=code, reason="x")) is came
    assert of_agent(None, Deny(code=code, reason="x")) is Came.NOTHING


@pytest.mark.parametrize(
    ("status", "upstream", "agent"),
    [
        (200, Came.GOOD, Came.GOOD),
        (400, Came.GOOD, Came.BAD),
        (401, Came.GOOD, Came.NOTHING),
        (429, Came.GOOD, Came.NOTHING),
        (500, Came.BAD, Came.NOTHING),
        (529, Came.BAD, Came.NOTHING),
    ],
)
def test_a_bad_request_is_the_agents_and_a_fault_the_upstreams(status, upstream, agent):
    result = Result(payload={}, size=2, is_error=status >= 400, status=status)
    assert of_upstream(result, None) is upstream
    assert of_agent(result, None) is agent


def test_what_is_withheld_counts_against_the_agent_and_not_the_upstream():
    result, denied = Result(payload={}, size=2), Deny(code="PC3023", reason="x")
    assert of_upstream(result, denied) is Came.GOOD
    assert of_agent(result, denied) is Came.BAD
    shared = Deny(code="PC3077", reason="others used up the rows")
    assert of_agent(result, shared) is Came.NOTHING


@pytest.mark.parametrize(
    ("code", "counts"),
    [
        ("PC3001", True),
        ("PC3013", True),
        ("PC3040", False),
        ("PC3070", False),
        ("PC3090", False),
        ("PC4001", False),
        ("PC5022", False),
        ("PC5023", False),
        ("PC6001", False),
        ("PC9001", False),
    ],
)
def test_what_is_not_the_agents_doing_does_not_count_against_it(code, counts):
    assert against_agent(Deny(code=code, reason="x")) is counts


def test_an_agent_is_stopped_by_denials_errors_or_cost():
    settings = AgentBreaker(denials=3, calls=4, errors=0.75, cost=2)
    window = AgentWindow(settings)
    assert [window.denied(1000 + n) for n in range(2)] == ["", ""]
    assert window.denied(1002) == "3 calls denied within 60 s"
    ends = [window.ended(1000 + n, bad=n > 0) for n in range(4)]
    assert ends == ["", "", "", "3 of 4 calls went wrong within 60 s"]
    assert window.spent(1000, MICROS) == ""
    assert window.spent(1001, MICROS) == "2.00 spent within 60 s"
    assert not window.idle(1030)
    assert window.idle(1100)


def test_what_is_switched_off_stops_nobody():
    window = AgentWindow(AgentBreaker(denials=None, errors=None, cost=None, calls=1))
    assert not any(window.denied(1000) for _ in range(1000))
    assert not any(window.ended(1000, bad=True) for _ in range(1000))
    assert not window.spent(1000, 10**15)
