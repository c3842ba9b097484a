"""If these fail, workers listen elsewhere than their supervisor says, somebody else takes their
port, or one that dies at once is started again without end."""

import asyncio
import json
import os
import signal
import socket
import sys

import pytest

from portcullis.bootstrap import children as respawning
from portcullis.bootstrap import leaving
from portcullis.bootstrap import workers as module
from portcullis.bootstrap.presence import started
from portcullis.bootstrap.workers import Addresses, Workers, arguments_of, names_of
from portcullis.config import Config, Listen
from portcullis.config.places import gateway_file
from portcullis.core.errors import Problem
from portcullis.gateway.listener import bound

pytestmark = pytest.mark.anyio

SLEEPS = "import sys, time; time.sleep(60)"


@pytest.fixture
def config(tmp_path):
    listen = Listen(gate="127.0.0.1:0", control="127.0.0.1:0", mtls="[::1]:0", workload=None)
    return Config(trust_domain="example.org", state=tmp_path / "state", listen=listen)


@pytest.fixture
def told():
    return []


@pytest.fixture
def children(config, told, monkeypatch):
    """Workers that run some lines of Python instead of a gateway."""

    def made(code, count=1):
        monkeypatch.setattr(module, "PORTCULLIS", (sys.executable, "-c", code))
        return Workers(config, names_of(count), (), lambda *said: told.append(said))

    return made


async def until(found):
    async with asyncio.timeout(10):
        while not found():  # noqa: ASYNC110 - processes
            await asyncio.sleep(0.01)


def test_an_address_is_kept_for_those_who_share_it(config, tmp_path):
    addresses = Addresses(config)
    at = addresses.listen()
    assert set(at) == {"gate", "mtls"}
    assert not at["gate"].endswith(":0")
    assert addresses.urls()["mtls"] == f"https://{at['mtls']}"
    with bound(at["gate"], shared=True) as first, bound(at["gate"], shared=True) as second:
        first.listen()
        second.listen()
        with pytest.raises(Problem, match="PC7001"):
            bound(at["gate"])
        with socket.create_connection(first.getsockname()):
            pass
    words = arguments_of(tmp_path / "portcullis.yaml", addresses)
    assert f"--listen=gate={at['gate']}" in words
    addresses.close()
    bound(at["gate"]).close()


async def test_one_that_dies_is_started_again_ever_more_slowly_and_that_is_recorded(
    children, told, monkeypatch
):
    monkeypatch.setattr(respawning, "BACK_OFF", (0.01, 0.04))
    kept = children("raise SystemExit(3)")
    running = asyncio.create_task(kept.run())
    await until(lambda: len(told) >= 10)
    await kept.end()
    await running
    waits = [said["again_seconds"] for method, said in told if "again_seconds" in said]
    assert waits[:4] == [0.01, 0.02, 0.04, 0.04]
    starts = [said["process"] for method, said in told if method == "gateway.start"]
    ends = [(said["process"], said["status"]) for method, said in told if method == "gateway.end"]
    assert ends == [(process, "exit 3") for process in starts]


async def test_it_is_ready_when_a_child_says_so_and_not_when_another_process_does(children, config):
    kept = children(SLEEPS)
    running = asyncio.create_task(kept.run())
    await until(lambda: kept._children)
    place = gateway_file(config, "gate-1")
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps({"pid": os.getpid(), "started": started(os.getpid())}))
    assert not kept.ready()
    pid = kept._children["gate-1"].pid
    place.write_text(json.dumps({"pid": pid, "started": started(pid)}))
    assert kept.ready()
    await kept.end()
    await running
    assert not kept.ready()


async def test_one_that_does_not_end_in_time_is_killed(children, config, told, monkeypatch):
    monkeypatch.setattr(leaving, "_MARGIN_SECONDS", 0.3)
    config.limits.__dict__["drain_seconds"] = 0
    kept = children(f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}")
    running = asyncio.create_task(kept.run())
    await until(lambda: kept._children)
    await asyncio.sleep(0.3)
    await kept.end()
    await running
    assert told[-1][1]["status"] == "SIGKILL"


async def test_a_child_reads_the_end_of_its_input_when_its_parent_is_gone(children, told):
    kept = children("import sys; sys.stdin.read(); raise SystemExit(7)")
    running = asyncio.create_task(kept.run())
    await until(lambda: kept._children)
    child = kept._children["gate-1"]
    assert child.returncode is None
    child.stdin.close()
    await until(lambda: any(method == "gateway.end" for method, _ in told))
    assert next(said["status"] for method, said in told if method == "gateway.end") == "exit 7"
    await kept.end()
    await running
    assert signal.Signals.SIGTERM.name not in {said.get("status") for _, said in told[:2]}


async def test_one_for_which_there_is_no_room_is_tried_again_and_the_others_run_on(
    children, told, monkeypatch
):
    monkeypatch.setattr(respawning, "BACK_OFF", (0.01, 0.04))
    kept = children(SLEEPS, count=2)
    begin, refused = asyncio.create_subprocess_exec, []

    async def room(*words, **more):
        if "gate-2" in words and len(refused) < 3:
            refused.append(words)
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return await begin(*words, **more)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", room)
    running = asyncio.create_task(kept.run())
    await until(lambda: len(told) == 2)
    assert len(refused) == 3
    assert [method for method, _ in told] == ["gateway.start"] * 2
    await kept.end()
    await running


SERVES = """
import os, signal, sys, time
place = {place!r}.format(sys.argv[sys.argv.index("--name") + 1])
code = open({how!r}).read()
if code != "serve":
    raise SystemExit(int(code))
from pathlib import Path
Path(place).parent.mkdir(parents=True, exist_ok=True)
Path(place).write_text('{{"pid": %d}}' % os.getpid())
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
time.sleep(60)
"""


async def test_all_begin_anew_one_after_the_other_and_the_first_that_fails_is_the_last(
    config, children, told, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "START_SECONDS", 3)
    place, how = str(gateway_file(config, "{}")), tmp_path / "how"
    how.write_text("serve")
    kept = children(SERVES.format(place=place, how=str(how)), 3)
    running = asyncio.create_task(kept.run())
    try:
        await until(kept.all_ready)
        first = {name: child.pid for name, child in kept._children.items()}
        del told[:]
        kept.renew()
        kept.renew()
        await asyncio.wait_for(kept._renewing, 20)
        second = {name: child.pid for name, child in kept._children.items()}
        assert set(first.values()).isdisjoint(second.values())
        assert [(method, said["gateway"]) for method, said in told] == [
            (f"gateway.{what}", name) for name in names_of(3) for what in ("end", "start")
        ]
        how.write_text("7")
        kept.renew()
        await asyncio.wait_for(kept._renewing, 20)
        left = {name: child.pid for name, child in kept._children.items()}
        assert {name: left[name] for name in names_of(3)[1:]} == {
            name: second[name] for name in names_of(3)[1:]
        }, "what serves is not ended while another does not come back"
    finally:
        await kept.end()
        await running
