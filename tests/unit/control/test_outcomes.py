"""What is remembered of kills: the latest, of each whom it was about, and not for ever."""

from portcullis.control.kills import Killed, Undone
from portcullis.control.outcomes import MOST, Outcomes
from portcullis.core.feed import EVERYONE, Told

GATEWAYS = (Told(gateway="a", acknowledged=1.5), Told(gateway="b", acknowledged=None, within=2.0))


def killed(value, scope="agent"):
    return Killed(scope=scope, value=value, reason="r", gateways=GATEWAYS)


def test_who_did_not_answer_is_not_forgotten_and_a_kill_taken_back_is():
    outcomes = Outcomes()
    outcomes.add(killed("mal"), 10.0)
    found = outcomes.of("agent", "mal")
    assert (found.complete, found.slowest, found.at) == (False, 1.5, 10.0)
    assert outcomes.get(found.number) is found
    assert outcomes.of("session", "mal") is None
    outcomes.note("isolated", "agent", "mal", 11.0)
    assert outcomes.of("agent", "mal") is found
    outcomes.add(Undone(scope="agent", value="mal", gateways=()), 12.0)
    assert outcomes.of("agent", "mal") is None
    assert outcomes.last("agent", "mal").verb == "undone"


def test_everybody_is_found_by_either_name_and_numbers_are_of_one_life():
    outcomes = Outcomes()
    outcomes.add(killed(EVERYONE, "all"), 10.0)
    assert outcomes.of("all", "") is outcomes.of("all", EVERYONE)
    after = Outcomes()
    after.add(killed("mal"), 20.0)
    assert after.get(outcomes.of("all", "").number) is None


def test_no_more_than_the_latest_are_remembered():
    outcomes = Outcomes()
    outcomes.add(killed("first"), 0.0)
    for number in range(MOST):
        outcomes.add(killed(f"agent-{number}"), 1.0)
    assert outcomes.of("agent", "first") is None
    assert outcomes.of("agent", "agent-0") is not None
