"""A gate whose disk turns read-only or is full does nothing unrecorded, says so, and recovers.

The disk is one of memory in a mount namespace of the test's own: nobody else sees it, and it ends
with the process that holds it. What the gate meets are the kernel's own errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailing import Mailing, Running, Send, mailing
from portcullis.audit.verify import own_verifier, verify

pytestmark = pytest.mark.anyio

AGENTS = 4
HELD = 'mount -t tmpfs -o size=32m none "$0" && echo mounted && exec cat'
FILL = "! head -c 64m /dev/zero > {0}/filler"
READ_ONLY = "mount --bind {0} {0} && mount -o remount,bind,ro {0}"


class Disk:
    """The disk at ``place``; ``seen`` is where this process sees it."""

    def __init__(self, place: Path, holder: int) -> None:
        self.place = place
        self.seen = Path(f"/proc/{holder}/root{place}")
        words = ("nsenter", "--preserve-credentials", "--user", "--mount", f"--target={holder}")
        self.within = words

    def run(self, script: str) -> None:
        """A line of the shell, with {0} for the place, run where the disk is."""
        words = [*self.within, "sh", "-c", script.format(self.place)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20)
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def own_disk(place: Path) -> Iterator[Disk]:
    """An empty disk, for as long as the block lasts."""
    place.mkdir()
    with subprocess.Popen(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", HELD, str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mounted\n"
        yield Disk(place, holder.pid)


async def refused(url: str, post: Mailing, send: Send, answered: set[str]) -> str:
    """Send mails until one is refused; with which code."""
    while True:
        mark = post.mark()
        if code := await send(url, mark):
            return code
        answered.add(mark)


async def serves(running: Running, post: Mailing, answered: set[str]) -> str:
    """The gate comes up, is ready and sends mails; its URL."""
    url = await running.ready()
    async with post.agent() as send:
        for _ in range(AGENTS):
            mark = post.mark()
            assert await send(url, mark) == ""
            answered.add(mark)
    assert await running.readiness() == 200
    return url


async def is_refused(running: Running, url: str, post: Mailing, answered: set[str]) -> None:
    """All agents are refused for this reason, the gate goes on to say so, and nothing is lost."""
    async with post.agent() as send:
        agents = (refused(url, post, send, answered) for _ in range(AGENTS))
        codes = await asyncio.wait_for(asyncio.gather(*agents), 20)
        assert set(codes) == {"PC6001"}
        assert await running.readiness() == 503
        before = post.sent()
        assert await send(url, post.mark()) == "PC6001"
    assert answered <= post.sent() == before
    assert post.sent() <= post.decided(), "sent without a record"


@pytest.mark.slow
async def test_a_disk_that_takes_no_more_lets_no_mail_out_unrecorded_and_loses_none(
    tmp_path: Path,
) -> None:
    answered: set[str] = set()
    with own_disk(tmp_path / "state") as disk:
        async with mailing(tmp_path, state=disk.seen, within=disk.within) as post:
            with post.gate() as running:
                url = await serves(running, post, answered)
                disk.run(READ_ONLY)
                await is_refused(running, url, post, answered)
            with post.gate() as running:
                assert await asyncio.to_thread(running.process.wait, 60) == 1
                assert "Read-only file system" in running.said.read_text()
            disk.run("umount {0}")
            with post.gate() as running:
                url = await serves(running, post, answered)
                disk.run(FILL)
                await is_refused(running, url, post, answered)
                assert running.process.poll() is None, "there is no room yet"
                disk.run("rm {0}/filler")
                assert await asyncio.to_thread(running.process.wait, 60) == 1, "its keeper's turn"
                assert "to be started again" in running.said.read_text()
            with post.gate() as running:
                await serves(running, post, answered)
                assert answered <= post.sent() <= post.decided()
                report = verify(post.log, own_verifier(post.log))
                assert report.ok, report.reasons
