"""If these fail, packages fill the disk, or evidence is thrown away that nothing stands for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from portcullis.review.shelf import discard, package_name, shelved, surplus

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def named(*hours: float) -> list[str]:
    return [package_name("soc2", NOON + timedelta(hours=hour)) for hour in hours]


def test_as_many_as_are_wanted_stay():
    there = named(*range(0, 240, 24))
    assert surplus(there, 10) == []
    assert surplus(reversed(there), 7) == there[:3]
    assert surplus(there, 1) == there[:-1]
    assert surplus([], 1) == []


def test_a_day_of_flapping_gaps_takes_no_other_days_evidence_away():
    days = named(0, 24, 48)
    flapping = named(*(72 + n / 10 for n in range(20)))
    gone = surplus([*days, *flapping], 5)
    assert gone == flapping[:18]
    assert surplus([*days, *flapping], 3) == [*flapping[:19], days[0]]


def test_only_packages_are_taken_for_packages(tmp_path):
    package, other = named(0)[0], package_name("gdpr", NOON)
    for name in (package, other, "soc2", f"{package}-mine", f".removed-{package}", "evidence"):
        (tmp_path / name).mkdir()
    (tmp_path / named(1)[0]).write_text("a file")
    (tmp_path / named(2)[0]).symlink_to(tmp_path / "evidence")
    assert shelved(tmp_path, "soc2") == [package]
    assert shelved(tmp_path / "none", "soc2") == []


def test_a_package_that_goes_is_gone_and_what_a_crash_left_of_one_too(tmp_path):
    first, second = named(0, 1)
    for name in (first, second, f".removed-{first}"):
        (tmp_path / name / "proofs").mkdir(parents=True)
        (tmp_path / name / "manifest").write_text("m")
    discard(tmp_path, first)
    assert [one.name for one in tmp_path.iterdir()] == [second]
    with pytest.raises(OSError, match="No such file"):
        discard(tmp_path, first)
