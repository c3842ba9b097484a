"""Approvals: durable, bound, consumed once; what any store of them guarantees."""

import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from portcullis.core.approval import Approval, State, Verb
from portcullis.core.approval_ports import ApprovalStore
from portcullis.core.call import RiskClass
from portcullis.store.approvals import SqlApprovals
from portcullis.store.sealed import count, reseal


def wanted(approval_id="a1", binding="b", agent="shop-1", created_at=100.0, **fields):
    return Approval(
        id=approval_id,
        state=State.PENDING,
        binding=binding * 64,
        agent=agent,
        action="tool",
        server="mail",
        name="send",
        risk=RiskClass.EXTERNAL,
        created_at=created_at,
        **({"session": "s1", "expires_at": 200.0} | fields),
    )


def opened(engine) -> ApprovalStore:
    return SqlApprovals(engine)


def claim(store, one, *, most=9, now=None):
    return store.claim(one, b"what is shown", most=most, now=one.created_at if now is None else now)


def test_a_call_asks_once_waits_is_approved_and_consumed_once_over_restarts(reopen):
    first = opened(reopen())
    assert claim(first, wanted()).outcome == "asked"
    again = opened(reopen())
    waits = claim(again, wanted("a2"))
    assert (waits.outcome, waits.approval) == ("waits", wanted())
    assert again.sealed("a1") == b"what is shown"
    approved = again.move("a1", Verb.APPROVE, now=110.0, by="bea", reason="fine")
    assert approved == msgspec.structs.replace(
        wanted(), state=State.APPROVED, settled_at=110.0, decided_by="bea", reason="fine"
    )
    assert again.sealed("a1") == b""
    third = opened(reopen())
    consumed = claim(third, wanted("a3"))
    assert (consumed.outcome, consumed.approval.id) == ("consumed", "a1")
    assert (consumed.approval.state, consumed.approval.decided_by) == (State.CONSUMED, "bea")
    assert claim(third, wanted("a4")).outcome == "asked"


def test_an_approval_is_consumed_by_one_of_a_hundred_who_try_at_once(reopen):
    stores = [opened(reopen()) for _ in range(4)]  # as many processes would
    claim(stores[0], wanted())
    stores[0].move("a1", Verb.APPROVE, now=101.0, by="bea")
    together = threading.Barrier(20)

    def attempt(number):
        if number < 20:
            together.wait()
        return claim(stores[number % 4], wanted(f"n{number}", created_at=102.0)).outcome

    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(attempt, range(100)))
    assert (outcomes.count("consumed"), outcomes.count("asked")) == (1, 1)
    assert outcomes.count("waits") == 98
    assert stores[0].get("a1").state is State.CONSUMED


def test_a_hundred_who_ask_at_once_make_one_request(reopen):
    stores = [opened(reopen()) for _ in range(2)]
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda n: claim(stores[n % 2], wanted(f"n{n}")), range(100)))
    assert len({one.approval.id for one in found}) == 1
    assert [one.outcome for one in found].count("asked") == 1


def test_nothing_counts_from_its_end_on(engine):
    store = opened(engine)
    claim(store, wanted())
    store.move("a1", Verb.APPROVE, now=110.0, by="bea")
    assert claim(store, wanted("a2"), now=200.0).outcome == "asked"
    assert store.move("a2", Verb.APPROVE, now=200.0, by="bea") is None
    assert store.move("a1", Verb.EXPIRE, now=201.0).decided_by == "bea"
    assert store.get("a1").state is State.EXPIRED


def test_a_denial_stands_until_its_time_is_over_and_takes_back_an_approval(engine):
    store = opened(engine)
    claim(store, wanted())
    store.move("a1", Verb.APPROVE, now=110.0, by="bea")
    assert store.move("a1", Verb.DENY, now=111.0, by="cy", reason="no").decided_by == "cy"
    denied = claim(store, wanted("a2"))
    assert (denied.outcome, denied.approval.id) == ("denied", "a1")
    assert claim(store, wanted("a3", created_at=200.0, expires_at=300.0)).outcome == "asked"


def test_another_call_another_agent_or_another_session_is_another_request(engine):
    store = opened(engine)
    claim(store, wanted())
    store.move("a1", Verb.APPROVE, now=110.0, by="bea")
    assert claim(store, wanted("a2", binding="c")).outcome == "asked"
    assert store.get("a1").state is State.APPROVED


@pytest.mark.parametrize("verb", [Verb.DENY, Verb.EXPIRE, Verb.CANCEL, Verb.APPROVE])
def test_what_is_sealed_is_gone_when_it_is_settled(engine, verb):
    store = opened(engine)
    claim(store, wanted())
    assert store.move("a1", verb, now=110.0, by="bea") is not None
    assert store.sealed("a1") == b""


def test_an_agent_has_only_so_many_waiting_and_a_frozen_one_asks_nothing(engine):
    store = opened(engine)
    claim(store, wanted(), most=2)
    claim(store, wanted("a2", "c"), most=2)
    assert claim(store, wanted("a3", "d"), most=2).outcome == "full"
    assert claim(store, wanted("a3", "d", agent="shop-2"), most=2).outcome == "asked"
    assert (store.freeze("shop-1", 110.0), store.freeze("shop-1", 111.0)) == (True, False)
    assert store.frozen() == ("shop-1",)
    assert claim(store, wanted("a4", "e")).outcome == "frozen"
    assert claim(store, wanted("a4", "e", agent="shop-2")).outcome == "asked"
    assert (store.lift("shop-1", 120.0), store.lift("shop-1", 121.0)) == (True, False)
    assert claim(store, wanted("a5", "f")).outcome == "asked"


def test_denials_count_from_the_last_time_they_were_lifted(engine):
    store = opened(engine)
    for number, letter in enumerate("abc"):
        claim(store, wanted(letter, letter))
        store.move(letter, Verb.DENY, now=110.0 + number, by="bea")
    assert (store.denials("shop-1", 0.0), store.denials("shop-1", 111.0)) == (3, 1)
    assert store.denials("shop-2", 0.0) == 0
    claim(store, wanted("d", "d", agent="shop-2", chain=("desk-1", "shop-1")))
    store.move("d", Verb.DENY, now=113.0, by="bea")
    assert store.get("d").chain == ("desk-1", "shop-1")
    assert [store.denials(one, 0.0) for one in ("shop-1", "shop-2", "desk-1")] == [4, 1, 1]
    store.freeze("shop-1", 113.0)
    store.lift("shop-1", 114.0)
    assert store.denials("shop-1", 0.0) == 0


def test_a_damaged_row_hides_no_other(engine):
    store = opened(engine)
    for letter in "ab":
        claim(store, wanted(letter, letter))
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE approvals SET risk = 'none' WHERE id = 'a'")
    assert [one.id for one in store.list((State.PENDING,), 9)] == ["b"]


def test_somebody_is_reminded_once_of_what_still_waits(engine):
    store = opened(engine)
    claim(store, wanted())
    assert [store.mark(["a1", "b2"], "reminded", at) for at in (110.0, 111.0)] == [1, 0]
    assert (store.get("a1").reminded_at, store.get("a1").escalated_at) == (110.0, 0.0)
    store.move("a1", Verb.APPROVE, now=112.0, by="bea")
    assert store.mark(["a1"], "escalated", 113.0) == 0


def test_the_newest_are_listed_the_oldest_first_and_settled_ones_forgotten(engine):
    store = opened(engine)
    for number, letter in enumerate("abcd"):
        claim(store, wanted(letter, letter, created_at=100.0 + number))
    store.move("a", Verb.DENY, now=110.0, by="bea")
    assert [one.id for one in store.list((State.PENDING,), 2)] == ["c", "d"]
    assert [one.id for one in store.list((State.DENIED, State.EXPIRED), 9)] == ["a"]
    assert (store.forget(110.0), store.forget(110.5), store.get("a")) == (0, 1, None)
    assert store.get("unknown") is None
    assert store.move("unknown", Verb.DENY, now=1.0) is None


def test_what_waits_is_brought_under_a_new_key_and_what_is_settled_is_nothing_to_seal(
    engine, sealer
):
    store = opened(engine)
    for letter in "ab":
        store.claim(wanted(letter, letter), sealer.seal(b"x", f"approvals:{letter}"), most=9, now=1)
    store.move("b", Verb.DENY, now=110.0, by="bea")
    assert count(engine, sealer)[0] == 1
    reseal(engine, sealer)
    assert sealer.open(store.sealed("a"), "approvals:a") == b"x"


def test_of_two_people_the_first_endorses_and_another_approves_after_that_one(reopen):
    store = opened(reopen())
    claim(store, wanted())
    endorsed = store.endorse("a1", now=110.0, by="bea", reason="fine")
    assert (endorsed.state, endorsed.endorsed_by, endorsed.endorsed_reason) == (
        State.PENDING,
        "bea",
        "fine",
    )
    assert (endorsed.decided_by, endorsed.reason) == ("", "")
    assert store.sealed("a1") == b"what is shown", "the second sees it, too"
    assert store.endorse("a1", now=111.0, by="cy", reason="me too") is None
    again = opened(reopen())
    assert claim(again, wanted("a2")).outcome == "waits"
    assert again.move("a1", Verb.APPROVE, now=112.0, by="cy") is None, "not without the first"
    assert again.move("a1", Verb.APPROVE, now=112.0, by="cy", after="dan") is None
    approved = again.move("a1", Verb.APPROVE, now=112.0, by="cy", reason="so", after="bea")
    assert (approved.state, approved.decided_by, approved.reason) == (State.APPROVED, "cy", "so")
    assert (approved.endorsed_by, approved.endorsed_reason) == ("bea", "fine")
    assert claim(again, wanted("a3")).outcome == "consumed"


def test_what_is_settled_or_too_late_is_not_endorsed(reopen):
    store = opened(reopen())
    claim(store, wanted())
    assert store.endorse("a1", now=200.0, by="bea", reason="late") is None
    assert store.endorse("none", now=110.0, by="bea", reason="x") is None
    store.endorse("a1", now=110.0, by="bea", reason="fine")
    assert store.move("a1", Verb.DENY, now=111.0, by="cy").state is State.DENIED
    assert store.endorse("a1", now=112.0, by="bea", reason="x") is None
