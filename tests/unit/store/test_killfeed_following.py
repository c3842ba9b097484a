"""If these fail, a gateway obeys a forged, old or delayed frame, or serves without knowing."""

import math
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from portcullis.core.feed import (
    Acknowledgement,
    Heartbeat,
    Snapshot,
    Standing,
    Update,
)
from portcullis.store.killfeed_following import Following, Made
from portcullis.store.killfeed_frames import ForgedError, Frames, Refusals

KILLED = (Standing("agent", "shop-1", "leaked"),)
LEASE = 1.0
OVER = pytest.approx(11.0, abs=0.002)  # less what two clocks may differ by meanwhile


def in_step(sequence=3, at=100.0, asked=10.0):
    """A follower that asked at 10.0 by its own clock, of a publisher whose clock said 100.0."""
    found = Following("gate-1", LEASE)
    found.ask(b"nonce", asked)
    assert found.hear(Snapshot("e1", sequence, at, "gate-1", b"nonce", ())) is Made.WHOLE
    return found


def test_it_is_stale_until_a_snapshot_that_it_asked_for():
    found = Following("gate-1", LEASE)
    assert found.fresh_until == -math.inf
    assert found.hear(Heartbeat("e1", 3, 100.0)) is Made.UNKNOWN
    assert found.hear(Snapshot("e1", 3, 100.0, "gate-1", b"other", ())) is Made.REFUSED
    assert found.fresh_until == -math.inf


def test_a_snapshot_is_good_once_and_for_one():
    found = Following("gate-1", LEASE)
    found.ask(b"nonce", 10.0)
    assert found.hear(Snapshot("e1", 3, 100.0, "gate-2", b"nonce", ())) is Made.REFUSED
    found.ask(b"nonce", 10.0)
    snapshot = Snapshot("e1", 3, 100.0, "gate-1", b"nonce", KILLED)
    assert found.hear(snapshot) is Made.WHOLE
    assert found.hear(snapshot) is Made.REFUSED
    assert (found.epoch, found.sequence, found.fresh_until) == ("e1", 3, OVER)


def test_updates_come_one_by_one():
    found = in_step()
    assert found.hear(Update("e1", 4, 100.2, KILLED)) is Made.CHANGED
    assert found.hear(Heartbeat("e1", 4, 100.5)) is Made.FRESH
    assert found.sequence == 4
    assert found.fresh_until == pytest.approx(11.5, abs=0.002)


@pytest.mark.parametrize(
    "frame",
    [
        Update("e1", 3, 100.5, KILLED),
        Update("e1", 2, 100.5, KILLED),
        Update("e1", 4, 99.0, KILLED),
        Heartbeat("e1", 3, 100.0),
        Heartbeat("e1", 2, 100.5),
    ],
    ids=["seen", "older", "made before", "again", "behind"],
)
def test_what_is_old_is_refused_and_keeps_nobody_fresh(frame):
    found = in_step()
    assert found.hear(frame) is Made.REFUSED
    assert (found.sequence, found.fresh_until) == (3, OVER)


@pytest.mark.parametrize(
    "frame", [Update("e1", 5, 100.5, KILLED), Heartbeat("e1", 4, 100.5)], ids=["update", "beat"]
)
def test_a_missing_update_makes_it_stale_until_the_next_snapshot(frame):
    found = in_step()
    assert found.hear(frame) is Made.MISSED
    assert found.fresh_until == -math.inf
    assert found.hear(Update("e1", 4, 100.6, KILLED)) is Made.UNKNOWN
    found.ask(b"again", 10.7)
    assert found.hear(Snapshot("e1", 5, 100.8, "gate-1", b"again", KILLED)) is Made.WHOLE
    assert found.fresh_until == pytest.approx(11.8, abs=0.01)  # as the first answer said


def test_frames_of_another_publisher_change_nothing_until_it_answers():
    found = in_step()
    assert found.hear(Update("e0", 4, 100.5, KILLED)) is Made.UNKNOWN
    assert (found.epoch, found.fresh_until) == ("e1", OVER)
    found.ask(b"again", 10.5)
    assert found.hear(Snapshot("e2", 0, 5.0, "gate-1", b"again", ())) is Made.WHOLE
    assert (found.epoch, found.sequence, found.fresh_until) == (
        "e2",
        0,
        pytest.approx(11.5, abs=0.002),
    )
    assert found.hear(Update("e2", 1, 5.1, KILLED)) is Made.CHANGED


def test_what_is_held_up_on_the_way_is_as_old_as_it_is():
    """Whoever holds frames back and lets them go later keeps nobody fresh with them."""
    found = in_step()
    late = [Heartbeat("e1", 3, 100.0 + number * 0.25) for number in range(1, 5)]
    for frame in late:  # all at once, ten seconds later
        assert found.hear(frame) is Made.FRESH
    assert found.fresh_until == pytest.approx(12.0, abs=0.002)


def test_a_late_answer_does_not_take_back_what_came_since():
    found = in_step()
    found.ask(b"slow", 10.1)
    assert found.hear(Update("e1", 4, 100.4, KILLED)) is Made.CHANGED
    assert found.hear(Snapshot("e1", 3, 100.3, "gate-1", b"slow", ())) is Made.REFUSED
    found.ask(b"same", 10.5)
    assert found.hear(Snapshot("e1", 4, 100.6, "gate-1", b"same", KILLED)) is Made.FRESH


def test_questions_are_forgotten_in_time():
    found = Following("gate-1", LEASE)
    for number in range(20):
        found.ask(bytes([number]), float(number))
    assert found.hear(Snapshot("e1", 0, 1.0, "gate-1", bytes([0]), ())) is Made.REFUSED
    assert found.hear(Snapshot("e1", 0, 1.0, "gate-1", bytes([19]), ())) is Made.WHOLE


def test_only_who_has_the_key_says_anything_and_no_answer_is_an_order():
    frames, others = Frames(b"k" * 32), Frames(b"x" * 32)
    update = Update("e1", 4, 100.2, KILLED)
    frame = frames.say(update)
    assert frames.said(frame) == update
    answer = frames.answer(Acknowledgement("gate-1", "e1", 4, 1, 2, 0.5))
    assert frames.answered(answer).runs == 1
    changed = frame[:-1] + bytes([frame[-1] ^ 1])
    for bad in (others.say(update), changed, frame[:40], b"", answer):
        with pytest.raises(ForgedError):
            frames.said(bad)
    with pytest.raises(ForgedError):
        frames.answered(frame)


def test_an_answer_that_took_long_does_not_cost_the_lease_and_a_newer_one_still_counts():
    found = in_step()
    found.ask(b"slow", 40.0)
    found.ask(b"next", 42.0)
    assert found.hear(Snapshot("e1", 3, 132.0, "gate-1", b"slow", ())) is Made.FRESH
    assert found.doubtful  # two seconds for an answer: it will ask again
    assert found.fresh_until == pytest.approx(43.0, abs=0.05)
    assert found.hear(Snapshot("e1", 3, 132.01, "gate-1", b"next", ())) is Made.FRESH
    assert not found.doubtful
    assert found.hear(Heartbeat("e1", 3, 132.25)) is Made.FRESH
    assert found.fresh_until == pytest.approx(43.25, abs=0.05)


def test_a_clock_that_stood_still_is_believed_after_a_few_answers():
    """As of a machine that was stopped for an hour: frames would seem an hour younger."""
    found = in_step()
    for number in range(4):
        nonce, at = bytes([number]), 3700.0 + number / 4
        found.ask(nonce, 10.0 + number / 4)
        found.hear(Snapshot("e1", 3, at, "gate-1", nonce, ()))
        assert found.doubtful is (number < 3)
        assert (found.fresh_until > 3600) is (number < 3)
    assert found.hear(Heartbeat("e1", 3, 3701.0)) is Made.FRESH
    assert found.fresh_until == pytest.approx(12.0, abs=0.01)


def test_whoever_sends_what_is_refused_does_not_fill_the_disk_with_what_is_said_of_it():
    time = iter([5.0, 5.1, 5.9, 6.0, 6.5])
    refusals = Refusals("refused", SimpleNamespace(monotonic=lambda: next(time)))
    with capture_logs() as said:
        for _ in range(5):
            refusals.add(reason="forged")
    assert [one["before"] for one in said] == [0, 2]
