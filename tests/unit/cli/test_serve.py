"""If these fail, a process that is to end while it starts does not, or leaves what it began."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from portcullis.bootstrap import mended
from portcullis.cli.serve import Stop, Stopped

pytestmark = pytest.mark.anyio


def gate(folder="/nowhere", reload=print):
    recorder = SimpleNamespace(failure="")
    return SimpleNamespace(
        services=SimpleNamespace(recorder=recorder), audit_directory=folder, reload_policy=reload
    )


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
    waiting = asyncio.create_task(stop.wait(gate(reload=lambda: reloaded.append(1))))
    await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGHUP)
    await asyncio.sleep(0.05)
    assert (reloaded, waiting.done()) == ([1], False)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(waiting, 5)
    assert capsys.readouterr().err == "edge: draining\n"


async def test_a_process_whose_log_failed_ends_once_there_is_room(
    handlers, capsys, tmp_path, monkeypatch
):
    monkeypatch.setattr(mended, "_LOOK_SECONDS", 0.01)
    one = gate(tmp_path / "log")
    waiting = asyncio.create_task(Stop("edge").wait(one))
    await asyncio.sleep(0.05)
    one.services.recorder.failure = "no space left"
    await asyncio.sleep(0.1)
    assert not waiting.done(), "it stays while nothing can be written, and says so to who asks"
    one.audit_directory.mkdir()
    await asyncio.wait_for(waiting, 60)
    assert "can be written again" in capsys.readouterr().err
    assert not list(one.audit_directory.iterdir())


HANGS = """
import asyncio, time
from types import SimpleNamespace as Of
from portcullis.cli.serve import Stop
gate = Of(services=Of(recorder=Of(failure="")), audit_directory="/", reload_policy=print)
async def main():
    stop = Stop("edge", tied=0.2)
    print("tied", flush=True)
    HOW
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [("await stop.wait(gate)", 0, "edge: draining\n"), ("time.sleep(60)", -signal.SIGKILL, "")],
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
