"""If this fails, agents on standard SPIFFE libraries lose the gate, or keep it when they must not.

A real gate in a process of its own, administered by the command line; and an agent in another,
with the PyPI ``spiffe`` library and an unmodified OpenAI client.
"""

import asyncio
import contextlib
import json
import os
import sys
from datetime import datetime
from pathlib import Path

import pytest

import standins
from e2e.identity.daemon import AGENT, daemon

pytestmark = pytest.mark.anyio
PYTHON = Path(sys.executable).resolve()
PROGRAM = Path(__file__).with_name("spiffe_agent.py")
CALLER = ("--selector", f"unix:uid:{os.geteuid()}", "--selector", f"unix:path:{PYTHON}")


class Agent:
    """The process, and what it said of each of its requests."""

    def __init__(self, process):
        self._process = process
        self.said = []

    async def until(self, wanted, seconds=20):
        """What it says until something is ``wanted``; the wanted is the last of it."""
        begin = len(self.said)
        async with asyncio.timeout(seconds):
            while True:
                line = await self._process.stdout.readline()
                assert line, "the agent has ended"
                self.said.append(json.loads(line))
                if wanted(self.said[-1]):
                    return self.said[begin:]

    def serials(self):
        return {each["serial"] for each in self.said}


@contextlib.asynccontextmanager
async def agent(gate):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, PROGRAM, gate.workload, gate.urls["mtls"] + "/openai/v1"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Agent(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def test_an_agent_on_the_spiffe_library_comes_in_goes_on_and_is_cut_off(tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        _, model, credential = await stack.enter_async_context(standins.standin_model())
        key = tmp_path / "key"
        key.touch(mode=0o600)
        key.write_text(credential)
        upstream = {"shape": "openai", "url": model, "credential": f"file:{key}"}
        gate = await stack.enter_async_context(daemon(tmp_path, models={"gpt": upstream}))
        run = gate.command
        await run("agent", "create", AGENT, "--owner", "shop", "--purpose", "sells")
        await run("agent", "register", AGENT, *CALLER, "--ttl", "4")
        shop = await stack.enter_async_context(agent(gate))

        # it rotates at half of its SVIDs' four seconds
        await shop.until(lambda _: len(shop.serials()) == 3)
        assert [each["error"] for each in shop.said] == [""] * len(shop.said)

        # `agent rotate`: what it had is worthless, what it gets works
        rotating = asyncio.create_task(run("agent", "rotate", AGENT))
        await shop.until(lambda each: rotating.done())
        said = await shop.until(lambda each: not each["error"])
        good = said[-1]["serial"]
        assert not [each for each in shop.said if each["serial"] == good and each["error"]]

        # `ca rotate root`: nothing fails, and soon the new root vouches for it
        old = said[-1]["issuer"]
        rotating = asyncio.create_task(run("ca", "rotate", "root"))
        said = await shop.until(lambda each: each["issuer"] != old)
        await rotating
        assert [each["error"] for each in said] == [""] * len(said)
        assert {each["roots"] for each in said} == {1, 2}

        # `agent revoke`: nothing works any more
        revoking = asyncio.create_task(run("agent", "revoke", AGENT))
        await shop.until(lambda each: revoking.done())
        last = len(shop.said)
        after = await shop.until(lambda _: len(shop.said) == last + 50)
        assert all(each["error"] for each in after)

        events = await gate.events()
        calls = {e["credential"] for e in events if e["type"] == "llm_call" and not e.get("code")}
        assert calls <= {f"svid:{serial}" for serial in shop.serials()}
        assert len(calls) >= 5
        methods = [e.get("method", "") for e in events]
        done = ["principals.create", "entries.add", "principals.rotate", "principals.revoke"]
        assert [each for each in methods if each in done] == done
        assert {"svid.issue", "svid.renew"} <= set(methods)
        rotated = datetime.fromisoformat(events[methods.index("principals.rotate")]["time"])
        assert int(good[:12], 16) / 1000 >= rotated.timestamp() - 0.1
        cut = methods.index("principals.revoke")
        refused = [e for e in events[cut:] if e["verdict"] == "deny"]
        assert {"PC4001"} == {e["code"] for e in refused}
        assert not [e for e in events[cut:] if e["type"] == "llm_call"]


async def test_a_process_that_is_not_the_agent_gets_nothing(tmp_path):
    async with daemon(tmp_path) as gate:
        other = f"unix:uid:{os.geteuid() + 1}"
        await gate.command("agent", "create", AGENT, "--owner", "shop", "--purpose", "sells")
        await gate.command("agent", "register", AGENT, "--selector", other)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", FETCH, str(gate.workload)), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        assert b"PC2060" in out
        events = await gate.events()
        (refused,) = [e for e in events if e.get("code") == "PC2060"]
        assert f"pid:{process.pid}" in refused["source"]


FETCH = """
import sys
from spiffe import WorkloadApiClient
try:
    WorkloadApiClient(f"unix:{sys.argv[1]}", default_timeout=10).fetch_x509_context()
except Exception as error:
    print(error)
"""
