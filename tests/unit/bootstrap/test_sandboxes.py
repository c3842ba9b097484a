"""If these fail, a box runs that is on no record, or the record says what it does not hold."""

import asyncio
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from portcullis.bootstrap.sandboxes import Figures, RecordedSandbox
from portcullis.config.boxed import Kept
from portcullis.core.errors import Problem
from portcullis.core.sandbox import (
    STRICT,
    Ability,
    Ended,
    Ending,
    Hold,
    Mount,
    Order,
    Profile,
    Streams,
)

pytestmark = pytest.mark.anyio

STREAMS = Streams(stdin=0, stdout=1, stderr=2)
ORDER = Order(
    title="mcp:files agent:a",
    argv=("planted-argument",),
    profile=Profile(name="roomy", memory=2**30, demands=STRICT - {Hold.CPU}),
    environ={"TOKEN": "planted-value"},
)


class StandInBox:
    pid, enforced, scratch = 77, STRICT - {Hold.CPU}, None

    def __init__(self):
        self.ended = asyncio.Event()
        self.closed = False

    async def wait(self):
        await self.ended.wait()
        return Ended(why=Ending.MEMORY, status=137)

    async def kill(self):
        self.ended.set()

    async def close(self):
        self.closed = True
        self.ended.set()


class StandInSandbox:
    """Its ``fault`` is raised; ``slow`` is waited for."""

    name = "bubblewrap"

    def __init__(self, fault=None, slow=None):
        self.box, self.fault, self.slow = StandInBox(), fault, slow

    def probe(self):
        return Ability(adapter="bubblewrap", version="1", enforces=STRICT, lacking={})

    async def start(self, _order, _streams):
        if self.slow is not None:
            await self.slow.wait()
        if self.fault is not None:
            raise self.fault
        return self.box


class Log:
    def __init__(self, failure=None):
        self.events, self.failure = [], failure

    async def durable(self, event):
        if self.failure is not None:
            raise self.failure
        self.events.append(event)

    def enqueue(self, event):
        self.events.append(event)


def recorded(inner, log, kept=Kept()):  # noqa: B008 - it is frozen
    registry = CollectorRegistry()
    clock = SimpleNamespace(now=lambda: 1000.0)
    services = SimpleNamespace(recorder=log, clock=clock, gateway="spiffe://t/gateway/g")
    return RecordedSandbox(inner, services, Figures(registry), kept), registry


async def test_every_box_is_on_record_with_what_holds_it_and_nothing_of_its_content():
    log, inner = Log(), StandInSandbox()
    sandbox, registry = recorded(inner, log)
    box = await sandbox.start(ORDER, STREAMS)
    (event,) = log.events
    assert (event.method, event.verdict) == ("sandbox.start", "allow")
    said = event.parameters
    assert (said["title"], said["profile"], said["adapter"]) == (
        "mcp:files agent:a",
        "roomy",
        "bubblewrap",
    )
    assert set(said["enforced"]) == STRICT - {Hold.CPU}
    assert "cpu" in said["lacking"]
    assert (said["memory"], said["pid"]) == (2**30, 77)
    assert "planted" not in repr(event)
    sandbox.claimed("tool:code.execute_code", box)
    assert log.events[1].method == "sandbox.claim"
    assert b"portcullis_boxes 1.0" in generate_latest(registry)
    await box.kill()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    figures = generate_latest(registry).decode()
    assert 'portcullis_boxes_started_total{profile="roomy"} 1.0' in figures
    assert 'portcullis_boxes_ended_total{why="memory"} 1.0' in figures
    assert "portcullis_boxes 0.0" in figures


async def test_a_box_that_cannot_be_recorded_is_ended():
    inner = StandInSandbox()
    sandbox, _ = recorded(inner, Log(Problem("PC6001", "the disk is full")))
    with pytest.raises(Problem) as caught:
        await sandbox.start(ORDER, STREAMS)
    assert caught.value.code == "PC6001"
    assert inner.box.closed


async def test_a_refusal_is_counted_by_its_code():
    sandbox, registry = recorded(StandInSandbox(Problem("PC5030", "no")), Log())
    with pytest.raises(Problem):
        await sandbox.start(ORDER, STREAMS)
    assert b'portcullis_boxes_refused_total{code="PC5030"} 1.0' in generate_latest(registry)


async def test_whoever_stops_waiting_leaves_no_box():
    slow = asyncio.Event()
    inner = StandInSandbox(slow=slow)
    sandbox, _ = recorded(inner, Log())
    starting = asyncio.ensure_future(sandbox.start(ORDER, STREAMS))
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    slow.set()
    async with asyncio.timeout(5):
        await inner.box.ended.wait()
    assert inner.box.closed


async def test_no_box_is_given_what_is_the_gates_own_wherever_links_lead_by_now(tmp_path):
    for name in ("state", "policy", "data"):
        (tmp_path / name).mkdir()
    data = tmp_path / "data"
    kept = Kept(secret=(tmp_path / "state",), rules=(tmp_path / "policy",), shared=(data,))
    sandbox, registry = recorded(StandInSandbox(), Log(), kept)
    (data / "link").symlink_to(tmp_path / "state")
    (data / "away").symlink_to("/etc/ssl")
    (data / "near").symlink_to(data)
    given = [("data", True), ("policy", False), ("data/near", True)]
    kept_back = [("policy", True), ("data/link", False), ("data/away", False), ("state/a", False)]
    for name, writable in (*given, *kept_back, ("", False)):
        mount = Mount(source=tmp_path / name, target="/x", writable=writable)
        order = Order(title="t", argv=("x",), profile=Profile(), mounts=(mount,))
        code = ""
        try:
            await sandbox.start(order, STREAMS)
        except Problem as problem:
            code = problem.code
        assert code == ("" if (name, writable) in given else "PC5032"), name
    assert b'refused_total{code="PC5032"} 5.0' in generate_latest(registry)
