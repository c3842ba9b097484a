"""If these fail, something was done, or handed out, of which the log knows nothing."""

import asyncio
import contextlib
import errno
import os
import resource
from pathlib import Path

import pytest

from e2e.matrix.cells import ALL, EVERY, begun, cells, until
from e2e.matrix.deployment import ITSELF, PORTCULLIS, deployed
from e2e.matrix.routes import route_of
from portcullis.core.errors import Problem

pytestmark = pytest.mark.anyio


def fill_disk(deployment, route):
    """From now on nothing can be added to the log of the route's gate."""
    if route.name == "mcp-stdio":
        pid = wrapper(route.token)
        _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, most))
        return

    def full(descriptor):
        raise OSError(errno.ENOSPC, "no space left")

    deployment.stage.gate.services.recorder._journal._sync = full


def wrapper(token):
    """The process that was started with this token."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and process.name != str(os.getpid()):
            try:
                environment = (process / "environ").read_bytes()
            except OSError:
                continue
            if f"PORTCULLIS_TOKEN={token}".encode() in environment.split(b"\0"):
                return int(process.name)
    raise AssertionError("no process was started with this token")


@contextlib.asynccontextmanager
async def breaking(folder, case):
    """A deployment whose log breaks; a gate that ends with a broken log says so.

    Its wrapper is a process of its own from the beginning: it is found by its environment.
    """
    loaded, PORTCULLIS[:] = [*PORTCULLIS], ITSELF
    running = deployed(folder)
    deployment = await running.__aenter__()
    says = contextlib.nullcontext() if case == "mcp-stdio" else pytest.raises(Problem, match="6001")
    try:
        yield deployment
    finally:  # what the test found wrong goes before what the gate says
        PORTCULLIS[:] = loaded
        with says:
            await running.__aexit__(None, None, None)


@cells("record", "request result", *EVERY, argument="case")
async def test_nothing_is_done_or_handed_out_that_cannot_be_recorded(case, tmp_path):
    async with breaking(tmp_path, case) as deployment:
        route = route_of(deployment, case)
        assert (await route.effect()).passed
        folder = tmp_path / "waits"
        folder.mkdir()
        asking = asyncio.create_task(route.scripted("wait", folder))
        await begun(folder, asking)
        before = len(route.effects())
        fill_disk(deployment, route)
        for _ in range(2):
            refused = await route.effect()
            assert refused.code == "PC6001"
        assert len(route.effects()) == before >= 1
        (folder / "go").touch()
        withheld = await asking
        assert withheld.code == "PC6001"
        if route.name != "llm-stream":  # whose pieces went out before there was a result
            assert str(folder) not in withheld.text


@cells("record", "result", *EVERY)
async def test_what_came_back_is_joined_to_the_decision(route, told):
    assert (await route.good()).passed
    await until(lambda: leaves(told()))
    decision, result = leaves(told())[-1]
    assert decision.verdict == result.verdict == "allow"
    assert decision.route == route.name
    assert decision.policy
    assert result.result.bytes > 0


@cells("record", "stream", *ALL)
async def test_a_stream_leaves_its_result_however_it_ends(route, told, tmp_path):
    await route.renew()
    assert (await route.scripted("pieces")).passed
    await until(lambda: leaves(told()))
    whole = leaves(told())[-1][1]
    assert whole.verdict == "allow"
    assert whole.result.chunks > 0 or route.name == "llm-json"
    leaving = asyncio.create_task(route.scripted("pieces-wait", tmp_path))
    await begun(tmp_path, leaving)
    before = len(results(told()))
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    if route.name == "llm-json":
        (tmp_path / "go").touch()  # the gate reads a whole answer to its end
    await until(lambda: len(results(told())) > before)
    if route.name != "llm-json":
        assert results(told())[-1].code in {"PC5008", "PC5014"}
    broken = await route.scripted("pieces-break")
    assert broken.code in {"PC5008", "PC5011"}
    await until(lambda: results(told())[-1].code == broken.code)


def leaves(events):
    """The decisions on calls with their results."""
    decisions = {event.id: event for event in events if event.type in {"tool_call", "llm_call"}}
    return [
        (decisions[event.decision], event)
        for event in events
        if event.decision in decisions and event.result is not None
    ]


def results(events):
    """What was recorded on calls after they were decided."""
    decisions = {event.id for event in events if event.type in {"tool_call", "llm_call"}}
    return [event for event in events if event.decision in decisions]
