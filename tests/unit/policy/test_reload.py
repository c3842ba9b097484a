import asyncio
import contextlib

import pytest

from policies import SUPPORT, call, context, policy_of, session_of, write
from portcullis.catalogue.schema import fault
from portcullis.core.errors import Problem
from portcullis.policy.reload import PolicyReload

pytestmark = pytest.mark.anyio
LOOSE = SUPPORT.replace("maximum: 100", "maximum: 1000")


@contextlib.asynccontextmanager
async def watching(folder, *, seconds=0.01):
    adopted, reported = [], []
    reload = PolicyReload(
        folder, fragment=fault, adopt=adopted.append, report=reported.append, seconds=seconds
    )
    task = asyncio.create_task(reload.run())
    try:
        yield reload, adopted, reported
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what it waits for sets no event
            await asyncio.sleep(0.005)


def allows_500(reload):
    asked = call(arguments={"customer_id": "C-1", "limit": 500})
    return type(reload.pdp.decide(asked, context(session=session_of()))).__name__ == "Allow"


async def test_a_changed_policy_takes_force(tmp_path):
    folder = write(tmp_path / "policy", SUPPORT)
    async with watching(folder) as (reload, adopted, reported):
        assert not allows_500(reload)
        write(folder, LOOSE)
        await until(lambda: len(adopted) == 2)
        assert allows_500(reload)
        assert adopted[1].digest == reload.pdp.digest
        assert reported == []


async def test_a_policy_that_does_not_compile_keeps_the_old_one_and_is_reported_once(tmp_path):
    folder = write(tmp_path / "policy", SUPPORT)
    async with watching(folder) as (reload, adopted, reported):
        before = reload.pdp.digest
        write(folder, LOOSE + "  broken\n")
        await until(lambda: reported)
        await asyncio.sleep(0.1)
        assert [problem.code for problem in reported] == ["PC7002"]
        assert "policy/main.yaml:" in reported[0].detail
        assert reload.pdp.digest == before
        assert not allows_500(reload)
        write(folder, LOOSE)
        await until(lambda: allows_500(reload))
        assert len(adopted) == 2


async def test_a_folder_that_is_gone_keeps_the_policy(tmp_path):
    folder = write(tmp_path / "policy", SUPPORT)
    async with watching(folder) as (reload, _, reported):
        before = reload.pdp.digest
        (folder / "main.yaml").unlink()
        await until(lambda: reported)
        assert reload.pdp.digest == before


async def test_a_signal_reloads_at_once(tmp_path):
    folder = write(tmp_path / "policy", SUPPORT)
    async with watching(folder, seconds=3600) as (reload, adopted, _):
        await asyncio.sleep(0.05)
        write(folder, LOOSE)
        reload.reload()
        await until(lambda: len(adopted) == 2)
        assert allows_500(reload)


async def test_a_gate_does_not_start_on_a_policy_that_does_not_compile(tmp_path):
    folder = write(tmp_path / "policy", "version: 1\nrolls: {}\n")
    with pytest.raises(Problem) as caught:
        PolicyReload(folder, fragment=fault, adopt=print, report=print)
    assert caught.value.code == "PC7002"


async def test_a_policy_that_is_not_adopted_does_not_take_force(tmp_path):
    def adopt(policy):
        if policy.digest != first:
            raise Problem("PC6001", "the log cannot take it")

    folder, reported = write(tmp_path / "policy", SUPPORT), []
    first = policy_of(SUPPORT).digest
    reload = PolicyReload(folder, fragment=fault, adopt=adopt, report=reported.append, seconds=0.01)
    task = asyncio.create_task(reload.run())
    write(folder, LOOSE)
    await until(lambda: reported)
    task.cancel()
    assert reported[0].code == "PC6001"
    assert not allows_500(reload)
