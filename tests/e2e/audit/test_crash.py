"""A gate that dies at any moment has done nothing that its log does not tell.

``PORTCULLIS_GATE_KILLS`` is how often, by tens: in turns of gates whose calls wait for a witness,
and of gates without one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from pathlib import Path

import aiohttp
import pytest

from mailing import Mailing, configuration, killed, mailing
from portcullis.audit.checkpoint import open_checkpoint
from portcullis.audit.quorum import load_quorum
from portcullis.audit.verify import own_verifier, verify
from portcullis.bootstrap import GATE, founded
from witnesses import witness_process, written_policy

KILLS = int(os.environ.get("PORTCULLIS_GATE_KILLS", "2"))
PER_GATE = 10
AGENTS = 8
OPENING = 0.3


async def load(post: Mailing, url: str, answered: set[str], first: asyncio.Event) -> None:
    """Send mails until nobody answers any more."""
    async with post.agent() as send:
        while True:
            mark = post.mark()
            try:
                code = await send(url, mark)
            except aiohttp.ClientError:
                return
            assert code == ""
            answered.add(mark)
            first.set()


async def kill_soon(post: Mailing) -> set[str]:
    """Start a gate and kill it while it starts, or under load; the marks that were answered."""
    answered: set[str] = set()
    with post.gate() as running:
        if random.random() < OPENING:
            await asyncio.sleep(random.uniform(0.5, 3))
            killed(running)
            return answered
        url = await running.ready()
        first = asyncio.Event()
        agents = [asyncio.create_task(load(post, url, answered, first)) for _ in range(AGENTS)]
        await first.wait()
        await asyncio.sleep(random.uniform(0, 0.3))
        killed(running)
        await asyncio.gather(*agents)
    return answered


def decided(post: Mailing, policy: Path | None) -> set[str]:
    """What the log says was allowed; with witnesses, under a checkpoint that they cosigned."""
    if policy is None:
        return post.decided()
    note = (post.log / "checkpoint").read_bytes()
    if not load_quorum(policy).met(note, time.time()).met:
        return set()
    return post.decided(open_checkpoint(note, own_verifier(post.log)).size)


@pytest.mark.slow
@pytest.mark.timeout(60 + 40 * min(KILLS, PER_GATE))
@pytest.mark.anyio
@pytest.mark.parametrize("number", range(max(1, KILLS // PER_GATE)))
async def test_a_killed_gate_sent_nothing_that_its_log_does_not_tell(
    tmp_path: Path, number: int
) -> None:
    answered: set[str] = set()
    held: bytes | None = None
    audit, policy = {}, None
    with contextlib.ExitStack() as stack:
        if number % 2 == 0:
            with contextlib.ExitStack() as founding:
                founded(founding, configuration(tmp_path), GATE)
            log = own_verifier(tmp_path / "state" / "log")
            witness = stack.enter_context(witness_process(tmp_path / "w", "w.example", [log]))
            policy = written_policy(tmp_path / "witnesses", [witness])
            audit = {"witnesses": str(policy), "await_witnesses": ["external"]}
        async with mailing(tmp_path, audit=audit) as post:
            for _ in range(min(PER_GATE, KILLS)):
                answered |= await kill_soon(post)
                told, sent = decided(post, policy), post.sent()
                assert answered <= sent
                assert sent <= told, "sent without a record"
                report = verify(post.log, own_verifier(post.log), held)
                assert report.ok, report.reasons
                held = (post.log / "checkpoint").read_bytes()
            with post.gate() as running, contextlib.suppress(aiohttp.ClientError):
                url = await running.ready()
                async with post.agent() as send:
                    assert await send(url, post.mark()) == ""
