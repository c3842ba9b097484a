"""If these fail, a gate does not stop while it verifies, or takes a dead process for a yes."""

from __future__ import annotations

import multiprocessing
import os
import time

import pytest

from portcullis.core.errors import Problem
from portcullis.review import apart
from portcullis.review.apart import checked, checked_apart
from portcullis.review.logs import Log, Logs
from unit.review.making import START, created, event


@pytest.fixture
def long(place, monkeypatch):
    """A log that counts as long."""
    monkeypatch.setattr(apart, "SHORT", 0)
    place.write([created(0), event(1)])
    return place


def die(*_):
    os._exit(1)


def test_a_process_of_its_own_finds_what_is_found_here(long):
    assert checked_apart(long.logs, START, lambda: False) == checked(long.logs, START)
    next((long.log / "tile/entries").rglob("*.p/*")).write_bytes(b"")
    found = checked_apart(long.logs, START, lambda: False)
    assert found is not None
    assert not found.ok
    assert found == checked(long.logs, START)


def test_whoever_stops_does_not_wait_for_the_verification(long):
    began = time.monotonic()
    assert checked_apart(long.logs, START, lambda: True) is None
    assert time.monotonic() - began < 1.5
    assert multiprocessing.active_children() == []


def test_a_process_that_died_has_found_nothing(long, monkeypatch):
    monkeypatch.setattr(apart, "_work", die)
    with pytest.raises(Problem, match="PC7007"):
        checked_apart(long.logs, START, lambda: False)


def test_no_log_is_a_fault_and_no_verdict(tmp_path, place):
    place.write([created(0)])
    nowhere = Logs(Log("gate", tmp_path / "none", place.verifier))
    with pytest.raises(Problem, match="PC7005"):
        checked_apart(nowhere, START, lambda: False)
