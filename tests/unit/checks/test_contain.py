import pytest

from policies import call, context
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


def looks(feed):
    check = Contain(feed)
    result = Result(payload={}, size=0)
    return [
        check.judge(call(), context(), None),
        check.judge_result(call(), context(), result),
        check.judge_chunk(call(), context()),
    ]


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
