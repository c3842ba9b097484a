"""If these fail, an alarm about drift leads to a release that is none of it, or stays after it."""

import msgspec
import pytest

from portcullis.control.drifts import drift
from portcullis.core.alert import Alert, Level, Words
from portcullis.core.release import Release, Stage

ALERT = Alert(
    id="1",
    rule="policy-drift",
    level=Level.HIGH,
    words=Words(title="drift", advice="", playbook="", threat=""),
    group={"parameters.agent": "shop-1"},
    opened_at=25.0,
    first_at=25.0,
    last_at=25.0,
    events=("e",),
    count=1,
)


def release(number, active_at, stage, changed_at=0.0, text=""):
    return Release(
        number=number,
        digest=f"sha256:{number}",
        text=text or f"sha256:t{number}",
        origin="operator",
        proposed_by="ada",
        proposed_at=1.0,
        stage=stage,
        active_at=active_at,
        changed_at=changed_at or active_at,
    )


FIRST = release(1, 10.0, Stage.SUPERSEDED, 20.0)
CASES = {
    "in force": ((FIRST, release(2, 20.0, Stage.ACTIVE)), 2, False),
    "followed by another": (
        (FIRST, release(2, 20.0, Stage.SUPERSEDED, 30.0), release(3, 30.0, Stage.ACTIVE)),
        2,
        False,
    ),
    "rolled back": (
        (release(1, 40.0, Stage.ACTIVE), release(2, 20.0, Stage.ROLLED_BACK, 40.0)),
        2,
        True,
    ),
    "taken back in the folder": (
        (
            FIRST,
            release(2, 20.0, Stage.SUPERSEDED, 30.0),
            release(3, 30.0, Stage.ACTIVE, text=FIRST.text),
        ),
        2,
        True,
    ),
    "left and come back to": (
        (FIRST, release(2, 50.0, Stage.ACTIVE), release(3, 30.0, Stage.ROLLED_BACK, 50.0)),
        2,
        False,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_release_is_the_one_that_was_in_force_then(case):
    releases, number, back = CASES[case]
    found = drift(ALERT, releases)
    assert (found.agent, found.release.number, found.back) == ("shop-1", number, back)


def test_a_second_widening_that_is_taken_back_does_not_end_what_the_first_one_began():
    later = msgspec.structs.replace(ALERT, last_at=35.0, count=2)
    second = release(2, 20.0, Stage.SUPERSEDED, 30.0)
    third = release(3, 30.0, Stage.ROLLED_BACK, 40.0)
    again = msgspec.structs.replace(second, stage=Stage.ACTIVE, active_at=40.0, changed_at=40.0)
    assert not drift(later, (FIRST, again, third)).back
    fourth = release(4, 45.0, Stage.ACTIVE)
    left = msgspec.structs.replace(second, stage=Stage.ROLLED_BACK, changed_at=40.0)
    assert not drift(msgspec.structs.replace(later, last_at=46.0), (FIRST, left, fourth)).back


def test_where_no_release_is_known_the_alarm_stands_without_one():
    assert drift(ALERT, ()).release is None
    assert not drift(ALERT, ()).back
