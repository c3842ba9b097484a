"""If these fail, a breaker does what its table does not say."""

import pytest

from portcullis.core.breaker import TRANSITIONS, Key, State, Verb, after
from portcullis.core.errors import Problem


def test_only_a_probe_that_went_well_or_an_operator_closes():
    closing = {(state, verb) for (state, verb), to in TRANSITIONS.items() if to is State.CLOSED}
    assert {verb for state, verb in closing if state is not State.CLOSED} == {
        Verb.SUCCEED,
        Verb.RESET,
    }
    assert (State.OPEN, Verb.SUCCEED) not in TRANSITIONS, "what was under way says nothing"


def test_every_state_has_a_way_out_by_an_operator():
    assert all(after(state, Verb.RESET) is State.CLOSED for state in State)


@pytest.mark.parametrize(
    ("state", "verb"),
    [(state, verb) for state in State for verb in Verb if (state, verb) not in TRANSITIONS],
)
def test_what_is_not_in_the_table_is_a_fault(state, verb):
    with pytest.raises(Problem) as raised:
        after(state, verb)
    assert raised.value.code == "PC9002"


def test_a_breaker_has_one_name():
    assert Key(scope="agent", subject="a").name == "agent:a"
    assert Key(scope="upstream", subject="u", gateway="g").name == "upstream:u"
    assert Key(scope="upstream", subject="u", gateway="g", agent="a").name == "upstream:u/a"
