"""Watching a gate that runs: it says by itself what happens, and a list says what is so."""

import time
from functools import partial

import anyio
import pytest

from e2e.approvals.desk import MAIL, desks
from portcullis.cli.watch_source import watching
from portcullis.config import load

pytestmark = pytest.mark.anyio


async def until(source, fits):
    """The first snapshot that fits."""
    with anyio.fail_after(30):
        while True:
            now = await anyio.to_thread.run_sync(partial(source.snapshots.get, timeout=25))
            if fits(now):
                return now


async def test_what_waits_is_seen_as_it_happens_and_who_decided_it(tmp_path):
    async with desks(tmp_path) as desk:
        with watching(load(desk.stage.config)) as source:
            now = await until(source, lambda now: now.live)
            assert (now.gate, now.waiting, now.fault) == (True, (), None)
            began = time.monotonic()
            await desk.send()
            now = await until(source, lambda now: now.waiting)
            (one,) = now.waiting
            assert (one.name, one.risk, one.state) == ("send", "external", "pending")
            await desk.send(MAIL | {"body": "It is here."})
            now = await until(source, lambda now: len(now.waiting) == 2)
            said = (await desk.ask("bea", "GET", "?limit=1"))[1]
            assert (now.total, len(said["approvals"]), said["waiting"]) == (2, 1, 2)
            assert (await desk.decide("bea", one.id, "deny"))[0] == 200
            now = await until(source, lambda now: now.settled)
            assert time.monotonic() - began < 8  # without its events it is looked at every 10 s
            assert [(gone.id, gone.state, gone.decided_by) for gone in now.settled] == [
                (one.id, "denied", "bea")
            ]
            assert [left.id != one.id for left in now.waiting] == [True]
    with watching(load(desk.stage.config)) as source:
        now = await until(source, lambda now: now.waiting)
        assert (now.gate, now.live, len(now.waiting)) == (False, False, 1)
