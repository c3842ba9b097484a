"""A thread that goes on after failures, less and less often, and ends when told."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event

from portcullis.audit.replica.worker import Worker
from portcullis.core.errors import Problem


def run(step: Callable[[], None], seconds: float, most: float) -> tuple[Worker, list[Problem]]:
    failed: list[Problem] = []
    return Worker("it", step, failed.append, seconds=seconds, most=most), failed


def until(met: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not met():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_step_that_fails_is_tried_again_and_told() -> None:
    calls = 0

    def step() -> None:
        nonlocal calls
        calls += 1
        if calls < 4:
            raise Problem("PC6021", "away")

    worker, failed = run(step, 0.01, 0.01)
    until(lambda: calls > 6)
    worker.close()
    assert [problem.code for problem in failed] == ["PC6021"] * 3
    ended = calls
    time.sleep(0.05)
    assert calls == ended


def test_failures_are_waited_for_longer_and_longer() -> None:
    times: list[float] = []

    def step() -> None:
        times.append(time.monotonic())
        raise Problem("PC6021", "away")

    worker, _ = run(step, 0.001, 60)
    time.sleep(0.2)
    worker.close()
    assert len(times) == 1


def test_an_error_that_nobody_foresaw_does_not_end_the_thread() -> None:
    calls = 0

    def step() -> None:
        nonlocal calls
        calls += 1
        raise RuntimeError

    worker, failed = run(step, 0.01, 0.01)
    until(lambda: calls > 2)
    worker.close()
    assert failed[0].code == "PC9002"
    assert failed[0].detail == "RuntimeError"


def test_closing_does_not_wait_for_a_step_that_hangs() -> None:
    release = Event()
    worker, _ = run(lambda: release.wait(20) and None, 1, 1)
    began = time.monotonic()
    worker.close(0.05)
    assert time.monotonic() - began < 2
    release.set()
