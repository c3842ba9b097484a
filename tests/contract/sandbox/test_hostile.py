"""What was found by breaking out of boxes. If these fail, it can be done again."""

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from contract.sandbox.conftest import ROOT
from contract.sandbox.groups import places
from portcullis.core.errors import Problem
from portcullis.core.sandbox import Mount, Order, Profile, Streams

pytestmark = pytest.mark.anyio
SUBMOUNT = """
import asyncio, os, sys
from pathlib import Path
from portcullis.bootstrap.sandboxes import adapter
from portcullis.core.sandbox import Mount, Order, Profile, Streams
from portcullis.execution.sandbox import kernel

async def main(name, place):
    kernel.own_mounts()
    kernel.mount("t", place + "/below", "tmpfs", 0, "mode=1777")
    null = os.open(os.devnull, os.O_RDWR)
    box = await adapter(name).start(Order(
        title="t", argv=("/bin/sh", "-c", f": > {place}/below/x"), profile=Profile(seconds=20),
        mounts=(Mount(source=Path(place), target=place),),
    ), Streams(stdin=null, stdout=null, stderr=null))
    ended = await box.wait()
    await box.close()
    print(ended.status, os.listdir(place + "/below"))

asyncio.run(main(*sys.argv[1:]))
"""


def readable(text: str) -> bytes:
    """The files that were made for boxes of which another user of this machine can read this."""
    files = [str(one) for top in places() for one in Path(top).rglob("*") if one.is_file()]
    somebody = ["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups", "--"]
    look = [*(somebody if ROOT else ()), "grep", "-ls", text, "/dev/null", *files]
    return subprocess.run(look, check=False, capture_output=True, timeout=20).stdout


@pytest.mark.parametrize("sandbox", ["bubblewrap"], indirect=True, scope="module")
async def test_what_ends_a_box_with_us_cannot_be_reached_from_within(inside, sandbox):
    assert sandbox.name == "bubblewrap"  # its first process is of the box's user
    ran = await inside("ls -A /proc/1; for one in /proc/1/mem /proc/1/task/1/mem; do"
                       " (: >> $one) 2> /dev/null && echo open $one; done; echo end")  # fmt: skip
    assert ran.out == "end\n"


async def test_nobody_else_reads_what_a_runtime_is_told(sandbox):
    null = os.open(os.devnull, os.O_RDWR)
    order = Order(
        title="t", argv=("/bin/sleep", "20"), profile=Profile(), environ={"KEY": "planted-secret"}
    )
    box = await sandbox.start(order, Streams(stdin=null, stdout=null, stderr=null))
    try:
        told = await asyncio.to_thread(readable, "planted-secret")
    finally:
        await box.close()
        os.close(null)
    assert told == b""


@pytest.mark.parametrize("sandbox", ["runc"], indirect=True, scope="module")
def test_read_only_holds_for_what_is_mounted_below(sandbox):
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        Path(top, "below").mkdir()
        ran = subprocess.run(
            [sys.executable, "-c", SUBMOUNT, sandbox.name, top],
            check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    status, _, left = ran.stdout.partition(" ")
    assert (left.strip(), status != "0") == ("[]", True), ran.stderr


@pytest.fixture
def led():
    """A folder that a box may write, in which there is a link to somewhere else by now."""
    with tempfile.TemporaryDirectory() as top:
        given = Path(top, "work")
        (given / "deep").mkdir(parents=True)
        Path(top, "other").mkdir()
        (given / "deep/own").symlink_to(Path(top, "other"))
        yield given


async def test_a_box_does_not_choose_what_the_next_one_is_shown(inside, led):
    mounts = tuple(
        Mount(source=one, target=str(one), writable=one == led) for one in (led, led / "deep/own")
    )
    with pytest.raises(Problem) as caught:
        await inside(f"ls {led}/deep/own", mounts=mounts)
    assert caught.value.code == "PC5032"
