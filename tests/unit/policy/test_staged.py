"""If these fail, a session sees two policies, a shadow decides, or a canary that denies goes on."""

import time

import msgspec
import pytest

from policies import SUPPORT, call, context, pdp_of, policy_of, session_of
from portcullis.core.release import MOST_HIT, Arm, Difference
from portcullis.core.verdict import Allow
from portcullis.policy import weighing
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.pdp import RegoPdp
from portcullis.policy.spike import caused, spiked
from portcullis.policy.staged import Staged, StagedPdp

TIGHT = SUPPORT.replace("maximum: 100", "maximum: 10")
RISKIER = SUPPORT.replace("risk: read", "risk: modify")
ASKED = call(arguments={"customer_id": "C-1", "limit": 50})


@pytest.fixture
def staged():
    made = []

    def stage(text, share, salt="a"):
        pdp = StagedPdp(policy_of(SUPPORT), RegorusEngine())
        made.append(Staged(pdp_of(text), pdp.judged_by_force, share=share, salt=salt))
        pdp.stage(made[-1])
        return pdp, made[-1]

    yield stage
    for one in made:
        one.close()


def in_session(number):
    return context(session=msgspec.structs.replace(session_of(), id=f"s{number}"))


def counted(staged, compared):
    until = time.monotonic() + 10
    while staged.tallies().compared < compared and time.monotonic() < until:
        time.sleep(0.005)
    return staged.tallies()


def test_a_shadow_decides_nothing_and_says_what_it_would_have(staged):
    pdp, shadow = staged(TIGHT, 0)
    verdicts = [pdp.decide(ASKED, in_session(n)) for n in range(5)]
    assert {(type(one), one.policy) for one in verdicts} == {(Allow, pdp.digest)}
    found = counted(shadow, 5)
    kind = Difference(agent="support-1", name="orders.search", was="allow read", now="PC3012")
    assert found.differences == {kind: 5}
    assert (found.compared, found.dropped, found.canary) == (5, 0, Arm())


def test_no_call_waits_for_a_shadow_and_no_long_one_is_kept_for_it(staged):
    pdp, shadow = staged(TIGHT, 0)
    pdp.decide(msgspec.structs.replace(ASKED, body=bytes(65_537)), in_session(1))
    assert (shadow.tallies().compared, shadow.tallies().dropped) == (0, 1)
    shadow.close()
    for number in range(1100):
        pdp.decide(ASKED, in_session(number))
    assert shadow.tallies().dropped >= 1 + 1100 - 1024


def test_another_risk_is_a_difference_and_another_rule_is_none(staged):
    pdp, shadow = staged(RISKIER, 0)
    pdp.decide(ASKED, in_session(1))
    assert {(one.was, one.now) for one in counted(shadow, 1).differences} == {
        ("allow read", "allow modify")
    }
    pdp, shadow = staged("# a line more, so that every rule's place is another\n" + SUPPORT, 0)
    pdp.decide(ASKED, in_session(1))
    assert (counted(shadow, 1).compared, shadow.tallies().differences) == (1, {})


def test_a_canary_is_a_share_of_sessions_each_of_which_sees_one_policy(staged):
    pdp, canary = staged(TIGHT, 20)
    seen = {n: {pdp.decide(ASKED, in_session(n)).policy for _ in range(3)} for n in range(400)}
    assert all(len(one) == 1 for one in seen.values())
    chosen = {n for n, one in seen.items() if one == {canary.candidate.digest}}
    assert 50 <= len(chosen) <= 115
    assert chosen == {n for n in range(400) if canary.chosen(in_session(n))}
    found = counted(canary, 3 * len(chosen))
    mine = len(chosen)
    assert found.canary == Arm(decisions=3 * mine, denials=3 * mine, sessions=mine, share=mine)
    assert found.rest == Arm(decisions=1200 - 3 * mine, sessions=400 - mine)
    assert len(found.hit) == min(mine, MOST_HIT)
    assert sum(found.differences.values()) + found.dropped == 3 * len(chosen)
    _, other = staged(TIGHT, 20, salt="b")
    assert {n for n in range(400) if other.chosen(in_session(n))} != chosen


def test_what_a_canary_session_is_shown_and_how_it_is_treated_is_of_its_policy(staged):
    no_search = SUPPORT.replace("allowed_tools: [kb.search, files.read]", "allowed_tools: []")
    strict = no_search + "inspection: {to_model: {EMAIL_ADDRESS: block}}\n"
    pdp, canary = staged(strict, 50)
    sessions = [in_session(n) for n in range(40)]
    for one in sessions:
        chosen = canary.chosen(one)
        assert bool(pdp.visible("tools", "kb", ["search"], one)) is not chosen
        by = canary.candidate if chosen else RegoPdp(policy_of(SUPPORT), RegorusEngine())
        assert pdp.profile(one) == by.profile(one)
    assert {canary.chosen(one) for one in sessions} == {True, False}


def test_a_call_without_a_session_is_never_a_canarys_and_counts_for_neither_side(staged):
    pdp, canary = staged(TIGHT, 50)
    assert {pdp.decide(call(target="kb.search"), context()).policy for _ in range(9)} == {
        pdp.digest
    }
    assert canary.tallies().rest == Arm()


@pytest.mark.parametrize(
    ("canary", "rest", "expected"),
    [
        ((20, 20), (20, 0), True),
        ((6, 6), (54, 0), True),
        ((60, 30), (60, 0), True),
        ((40, 10.5), (360, 0.5), True),
        ((1000, 120), (9000, 450), True),
        ((4, 4), (1000, 0), False),  # too few to say
        ((1000, 1000), (4, 0), False),
        ((20, 1), (180, 0), False),  # one session, whatever it repeats
        ((40, 12), (40, 8), False),  # what chance does
        ((1000, 500), (1000, 500), False),
        ((1000, 0), (1000, 900), False),  # less than the others
    ],
)
def test_a_canary_has_spiked_when_chance_does_not_explain_its_denials(canary, rest, expected):
    arms = [Arm(sessions=one[0], share=one[1]) for one in (canary, rest)]
    assert spiked(*arms) is expected


def test_calls_that_neither_policy_grants_take_no_canary_back(staged):
    pdp, canary = staged(TIGHT, 50)
    mine = next(n for n in range(100) if canary.chosen(in_session(n)))
    for _ in range(30):
        pdp.decide(call(target="orders.nothing"), in_session(mine))
    found = counted(canary, 30)
    assert found.canary == Arm(decisions=30, denials=30, sessions=1, share=1.0)
    assert not caused(found)


def test_one_session_that_repeats_what_the_canary_denies_takes_it_not_back_and_three_may(staged):
    pdp, canary = staged(TIGHT, 50)
    sessions = [in_session(n) for n in range(400) if canary.chosen(in_session(n))][:20]
    long = msgspec.structs.replace(ASKED, body=bytes(65_537))  # too long to be compared
    for number in range(200):
        pdp.decide(long if number % 2 else ASKED, sessions[0])
    for one in sessions:
        pdp.decide(call(target="kb.search"), one)
    for one in [in_session(n) for n in range(900) if not canary.chosen(in_session(n))][:180]:
        pdp.decide(call(target="kb.search"), one)
    found = counted(canary, 120)
    assert (found.canary.denials, len(found.hit)) == (200, 1)
    assert (found.canary.sessions, found.canary.share) == (20, pytest.approx(200 / 201))
    assert not caused(found)
    assert not spiked(found.canary, found.rest)
    for one in sessions[1:3]:
        pdp.decide(ASKED, one)
    assert caused(counted(canary, 122))


def test_sessions_without_end_are_weighed_in_bounded_memory(monkeypatch):
    monkeypatch.setattr(weighing, "MOST_SESSIONS", 10)
    side = weighing.Weighing()
    for number in range(100):
        side.count(f"s{number}", denied=number % 2 == 0)
    assert side.arm() == Arm(decisions=100, denials=50, sessions=100, share=50.0)
