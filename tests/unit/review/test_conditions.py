"""Each condition: what opens the gap, and what closes it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from portcullis.review import fold
from portcullis.review.conditions import CONDITIONS
from portcullis.review.subject import Gap, Unknown, Verified
from unit.review.making import DAY, START, admin, created, event, facts, result, review

PIN = admin(1, "catalogue.pin", by="", server="orders", parameters={"tools": {"search": "d"}})
APPROVED = admin(
    2, "catalogue.pin", "orders.search", parameters={"server": "orders", "tool": "search"}
)
SVID = event(0, type="identity", method="svid.issue", principal_kind="gateway", principal="gate")
REVOKED = admin(2, "principals.revoke", "agent:a")
GOOD = Verified(at=START, ok=True, size=3)
BAD = Verified(at=START, ok=False, size=3, reasons=("a tile is missing",))


def pruned(one):
    """The same review of a log whose first entries are gone."""
    at = replace(one.facts.logs["gate"], first=facts([event(0), event(1)]).last)
    return replace(one, facts=replace(one.facts, logs={"gate": at}))


def crowded(*later, after):
    """Five calls of which two can be remembered, then what comes later."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold, "MAX_OPEN", 2)
        return review([*(event(n) for n in range(5)), *later], after=after)


def full(one, table):
    """The same review of a log that held more than is remembered."""
    return replace(one, facts=replace(one.facts, full=frozenset({table})))


CASES = {
    "agent-without-owner": (
        review([created(0, owner="")]),
        [review([created(0)]), review([created(0, owner=""), REVOKED])],
    ),
    "agent-without-purpose": (review([created(0, purpose="")]), [review([created(0)])]),
    "agent-not-reviewed": (
        review([created(0)], after=91 * DAY),
        [
            review([created(0)]),
            review(
                [
                    created(0),
                    admin(
                        1,
                        "principals.review",
                        "agent:a",
                        parameters={"review_at": START.timestamp() + 200 * DAY},
                    ),
                ],
                after=91 * DAY,
            ),
        ],
    ),
    "agent-unregistered": (review([event(0)]), [review([created(0), event(1)])]),
    "acted-while-cut-off": (
        review([created(0), event(1), REVOKED, event(9)]),
        [
            review([created(0), event(1), REVOKED, event(3)]),  # it was on its way
            review([created(0), event(1), REVOKED, event(9, verdict="deny")]),
            review([created(0), event(1), REVOKED, event(9)], after=31 * DAY),
        ],
    ),
    "result-without-decision": (
        review([result(0, 7)]),
        [review([event(0), result(1, 0)]), review([result(0, 7)], after=31 * DAY)],
    ),
    "action-without-result": (
        review([event(0)], after=DAY + 60),
        [review([event(0)]), review([event(0), result(1, 0)], after=DAY + 60)],
    ),
    "erasure-unfinished": (
        review([admin(0, "audit.erase", "tag")], after=DAY + 60),
        [
            review([admin(0, "audit.erase", "tag")]),
            review([admin(0, "audit.erase", "t"), admin(1, "audit.erased", "t")], after=DAY + 60),
        ],
    ),
    "incomplete-record": (review([event(0, policy="")]), [review([event(0)])]),
    "clock-went-back": (
        review([event(5), event(6, seconds=3)]),
        [review([event(5), event(6, seconds=4.5)])],
    ),
    "log-silent": (review([event(0)], after=8 * DAY), [review([event(0)], after=6 * DAY)]),
    "log-unverified": (review(verified=BAD), [review(verified=GOOD)]),
    "log-unwitnessed": (review(unwitnessed=("gate",)), [review(unwitnessed=())]),
    "log-not-timestamped": (review(), [review(timestamp_authorities=("tsa",))]),
    "log-not-replicated": (review(), [review(replicas=("far",))]),
    "pruned-early": (
        pruned(review([event(1)], after=30 * DAY)),
        [review([event(0)]), pruned(review([event(1)], after=190 * DAY))],
    ),
    "tool-not-pinned": (
        review([event(0)]),
        [review([PIN, event(3)]), review([event(0)], pinned={"orders.search": False})],
    ),
    "tool-not-approved": (review([PIN, event(3)]), [review([PIN, APPROVED, event(3)])]),
    "tool-changed": (review(changed={"orders.search": START}), [review()]),
    "grant-unused": (
        review([event(0)], after=40 * DAY, granted=("orders.search",)),
        [
            review([event(0)], granted=("orders.search",)),  # too young to tell
            review(
                [event(0), event(1, seconds=39 * DAY)], after=40 * DAY, granted=("orders.search",)
            ),
        ],
    ),
    "personal-data-passes": (review(passing=("personal:to_model",)), [review()]),
    "secrets-pass": (review(passing=("secret:to_tool",)), [review(passing=("canaries",))]),
    "injections-pass": (review(passing=("injection:tool",)), [review()]),
    "rules-switched-off": (review(rules_switched_off=("iban",)), [review()]),
    "unbound-tokens": (review(tokens_bound=False), [review()]),
    "plain-upstream": (review(plain=("orders",)), [review()]),
    "tool-without-box": (review(unboxed=("mcp.files",)), [review(boxed=("mcp.files: strict",))]),
    "key-beside-data": (review(key_beside_data=True), [review()]),
    "certificate-stale": (
        review([SVID, event(3700)], certificate_seconds=3600),
        [review([SVID, event(3500)], certificate_seconds=3600), review()],
    ),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_each_gap_opens_and_closes(name):
    opened, closed = CASES[name]
    found = CONDITIONS[name](opened)
    assert isinstance(found, Gap), found
    assert found.reason
    for one in closed:
        assert CONDITIONS[name](one) is None


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("log-unverified", review()),
        ("pruned-early", review([event(0)], since=START)),
        ("certificate-stale", review([event(0)])),
        ("grant-unused", review([event(0)], after=40 * DAY, policy_fault="Policy error")),
        ("secrets-pass", review(policy_fault="Policy error")),
        ("result-without-decision", crowded(after=DAY)),
        ("agent-without-owner", full(review([created(0)]), "principals")),
        ("tool-not-approved", full(review([PIN, APPROVED, event(3)]), "tools")),
        ("grant-unused", full(review([event(0)], after=40 * DAY), "tools")),
    ],
)
def test_what_cannot_be_known_is_not_taken_for_good(name, case):
    assert isinstance(CONDITIONS[name](case), Unknown)


def test_without_any_witness_the_log_vouches_for_itself_and_that_is_said():
    said = CONDITIONS["log-unwitnessed"](review())
    assert isinstance(said, Gap)
    assert "no witness is configured" in said.reason


def test_a_gap_says_since_when_and_which_events_show_it():
    said = CONDITIONS["agent-without-owner"](review([event(0), created(1, owner="")]))
    assert isinstance(said, Gap)
    assert said.since == START + timedelta(seconds=1)
    assert [(mark.index, mark.id) for mark in said.marks] == [(1, "e1")]


def test_a_gap_that_a_thousand_agents_open_is_said_in_a_line():
    many = [created(n, f"agent:a-{n:04}", owner="") for n in range(1000)]
    said = CONDITIONS["agent-without-owner"](review(many))
    assert isinstance(said, Gap)
    assert said.reason.endswith("agent:a-0004 and 995 more")
    assert len(said.marks) == 5


def test_in_a_period_a_breach_counts_however_long_ago_it_was():
    broken = [result(0, 7)]
    assert CONDITIONS["result-without-decision"](review(broken, after=99 * DAY)) is None
    said = CONDITIONS["result-without-decision"](review(broken, after=99 * DAY, since=START))
    assert isinstance(said, Gap)


def test_calls_beyond_what_is_remembered_are_missed_after_a_day_if_they_have_no_result():
    missing = CONDITIONS["action-without-result"]
    said = missing(crowded(result(9, 2), after=2 * DAY))
    assert isinstance(said, Gap)
    assert said.reason.startswith("2 allowed calls have no recorded result after a day, and 2 that")
    assert [mark.index for mark in said.marks] == [3, 4]  # those that are known to have none
    answered = [result(n + 9, n) for n in range(5)]
    assert missing(crowded(*answered, after=2 * DAY)) is None
    assert missing(crowded(after=40 * DAY)) is None  # as any that long ago


def test_once_too_many_calls_do_not_hide_a_result_without_decision_for_ever():
    unfounded = CONDITIONS["result-without-decision"]
    at_once, later = result(9, 77), result(10, 77, seconds=DAY + 60)
    assert isinstance(unfounded(crowded(at_once, after=60)), Unknown)  # may be of a forgotten call
    assert unfounded(crowded(after=2 * DAY)) is None
    said = unfounded(crowded(later, after=2 * DAY))
    assert isinstance(said, Gap)
    assert [mark.index for mark in said.marks] == [5]


def test_a_result_without_decision_that_is_known_is_not_hidden_by_too_many_calls_later():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold, "MAX_OPEN", 2)
        case = review([result(0, 77), *(event(n) for n in range(1, 6))])
    assert isinstance(CONDITIONS["result-without-decision"](case), Gap)


@pytest.mark.parametrize(("days", "found"), [(30, Gap), (184, type(None))])
def test_young_entries_that_were_pruned_from_the_middle_open_a_gap_until_they_were_old(
    days: int, found: type
) -> None:
    told = {"before": {"tool_call": START.timestamp(), "llm_call": 10**400}}
    record = admin(1, "audit.prune", "0-255", parameters=told)
    state = CONDITIONS["pruned-early"](review([event(0), record], after=days * DAY))
    assert isinstance(state, found)
