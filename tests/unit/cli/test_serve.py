"""If these fail, a process that is to end while it starts does not, or leaves what it began."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys

import pytest

from portcullis.cli.serve import Stop, Stopped

pytestmark = pytest.mark.anyio


@pytest.fixture
async def handlers():
    yield
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(ValueError):
            asyncio.get_running_loop().remove_signal_handler(number)


async def test_what_starts_is_given_up_when_it_is_to_end_before(handlers):
    undone = []

    @contextlib.asynccontextmanager
    async def slow():
        try:
            await asyncio.sleep(30)
            yield
        finally:
            undone.append(1)

    async with contextlib.AsyncExitStack() as stack:
        stop = Stop("edge")
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            await stop.before(stack.enter_async_context(slow()))
    assert undone == [1]
    assert asyncio.current_task().cancelling() == 0


async def test_it_waits_reloads_and_says_that_it_drains(handlers, capsys):
    reloaded = []
    stop = Stop("edge")
    assert await stop.before(asyncio.sleep(0, "made")) == "made"
    waiting = asyncio.create_task(stop.wait(lambda: reloaded.append(1)))
    await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGHUP)
    await asyncio.sleep(0.05)
    assert (reloaded, waiting.done()) == ([1], False)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(waiting, 5)
    assert capsys.readouterr().err == "edge: draining\n"


HANGS = """
import asyncio, time
from portcullis.cli.serve import Stop
async def main():
    stop = Stop("edge", tied=0.2)
    print("tied", flush=True)
    HOW
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [("await stop.wait(print)", 0, "edge: draining\n"), ("time.sleep(60)", -signal.SIGKILL, "")],
    ids=["idle", "hangs"],
)
def test_a_process_that_is_tied_ends_with_its_input_even_when_it_hangs(how, status, said):
    with subprocess.Popen(
        [sys.executable, "-c", HANGS.replace("HOW", how)], stdin=-1, stdout=-1, stderr=-1, text=True
    ) as child:
        assert child.stdout.readline() == "tied\n"
        assert child.poll() is None
        child.stdin.close()
        assert child.wait(20) == status
        assert child.stderr.read() == said
