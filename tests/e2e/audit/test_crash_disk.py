"""A gate whose disk is full or turns read-only does nothing unrecorded, says so, and recovers.

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


async def does_not_start(post: Mailing) -> None:
    with post.gate() as running:
        assert await asyncio.to_thread(running.process.wait, 60) == 1
        assert "Read-only file system" in running.said.read_text()


@pytest.mark.parametrize(
    ("breaks", "mends"), [(FILL, "rm {0}/filler"), (READ_ONLY, "umount {0}")], ids=["full", "ro"]
)
async def test_a_disk_that_takes_no_more_lets_no_mail_out_unrecorded_and_loses_none(
    tmp_path: Path, breaks: str, mends: str
) -> None:
    answered: set[str] = set()
    with own_disk(tmp_path / "state") as disk:
        async with mailing(tmp_path, state=disk.seen, within=disk.within) as post:
            with post.gate() as running:
                url = await running.ready()
                async with post.agent() as send:
                    for _ in range(AGENTS):
                        answered.add(mark := post.mark())
                        assert await send(url, mark) == ""
                assert await running.readiness() == 200
                disk.run(breaks)
                await is_refused(running, url, post, answered)
            if breaks == READ_ONLY:
                await does_not_start(post)
            disk.run(mends)
            with post.gate() as running:
                url = await running.ready()
                async with post.agent() as send:
                    assert await send(url, post.mark()) == ""
                assert await running.readiness() == 200
                assert answered <= post.sent() <= post.decided()
                report = verify(post.log, own_verifier(post.log))
                assert report.ok, report.reasons
