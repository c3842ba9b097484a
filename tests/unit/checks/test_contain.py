import pytest

from policies import call, context, session_of
from portcullis.checks.contain import Contain
from portcullis.core.call import Result
from portcullis.core.verdict import PASS


class Feed:
    def __init__(self, *, stale=False, reason=None):
        self._stale, self._reason = stale, reason

    def stale(self):
        return self._stale

    def reason(self, principal, session):
        return self._reason


class Sessions:
    def __init__(self, *, open_now=True):
        self._open = open_now

    def is_open(self, session_id):
        return self._open


def looks(feed, sessions=None, session=None):
    check = Contain(feed, sessions or Sessions())
    result = Result(payload={}, size=0)
    around = context(session=session)
    return [
        check.judge(call(), around, None),
        check.judge_result(call(), around, result, None),
        check.judge_chunk(call(), around),
    ]


def test_what_runs_in_a_session_that_ends_gets_nothing_more():
    assert looks(Feed(), Sessions(), session_of()) == [PASS] * 3
    over = looks(Feed(), Sessions(open_now=False), session_of())
    assert [verdict.code for verdict in over] == ["PC2006"] * 3


def test_nobody_gets_anything_while_another_policy_than_the_one_in_force_may_decide():
    behind = Contain(Feed(), Sessions(), lambda: True)
    assert behind.judge(call(), context(), None).code == "PC4006"
    cut_off = Contain(Feed(reason="killed"), Sessions(), lambda: True)
    assert cut_off.judge(call(), context(), None).code == "PC4001"


def test_nobody_is_held_up_without_a_reason():
    assert looks(Feed()) == [PASS] * 3


@pytest.mark.parametrize(
    ("feed", "code"),
    [
        (Feed(reason="killed by an operator"), "PC4001"),
        (Feed(stale=True), "PC4002"),
        (Feed(stale=True, reason="killed"), "PC4002"),
    ],
)
def test_who_is_cut_off_gets_no_call_no_result_and_no_further_chunk(feed, code):
    assert [verdict.code for verdict in looks(feed)] == [code] * 3
