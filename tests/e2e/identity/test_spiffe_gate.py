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

import httpx2
import openai
import pytest
from spiffe import WorkloadApiClient

import standins
from e2e.identity.daemon import AGENT, daemon
from e2e.identity.spiffe_agent import ask, tls

pytestmark = pytest.mark.anyio
PYTHON = Path(sys.executable).resolve()
PROGRAM = Path(__file__).with_name("spiffe_agent.py")
CALLER = ("--selector", f"unix:uid:{os.geteuid()}", "--selector", f"unix:path:{PYTHON}")


class Agent:
    """The process, and what it said of each of its requests."""

    def __init__(self, process):
        self.said = []
        self._more = asyncio.Event()
        self._listening = asyncio.create_task(self._listen(process.stdout))

    async def _listen(self, lines):
        async for line in lines:
            self.said.append(json.loads(line))
            self._more.set()

    async def until(self, wanted, seconds=20):
        """What it says from now on until something is ``wanted``, which is the last of it."""
        begin = at = len(self.said)
        async with asyncio.timeout(seconds):
            while True:
                while at == len(self.said):
                    assert not self._listening.done(), "the agent has ended"
                    self._more.clear()
                    await self._more.wait()
                at += 1
                if wanted(self.said[at - 1]):
                    return self.said[begin:at]

    async def more(self, times=50):
        """What it says the next so many times."""
        begin = len(self.said)
        await self.until(lambda _: len(self.said) >= begin + times)
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
        await process.wait()


@contextlib.asynccontextmanager
async def copy_of_its_svid(gate):
    """A client with an SVID of the agent that follows no rotation: we have its selectors, too."""
    with WorkloadApiClient(f"unix:{gate.workload}", default_timeout=10) as api:
        context = await asyncio.to_thread(api.fetch_x509_context)
    with httpx2.Client(verify=tls(context), timeout=10) as http:
        yield http


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
        entry = (await run("agent", "register", AGENT, *CALLER)).strip()
        shop = await stack.enter_async_context(agent(gate))
        (first,) = await shop.until(lambda each: True)
        copied = await stack.enter_async_context(copy_of_its_svid(gate))
        await asyncio.to_thread(ask, copied, gate.urls["mtls"] + "/openai/v1")

        # `agent rotate`: what it had is worthless, and what it gets at once works
        rotating = asyncio.create_task(run("agent", "rotate", AGENT))
        await shop.until(lambda each: rotating.done())
        good = (await shop.until(lambda each: not each["error"]))[-1]
        assert good["serial"] != first["serial"]
        with pytest.raises(openai.APIConnectionError):
            await asyncio.to_thread(ask, copied, gate.urls["mtls"] + "/openai/v1")
        assert not [
            each for each in shop.said if each["serial"] == good["serial"] and each["error"]
        ]

        # `ca rotate root`: nothing fails, and both roots are trusted
        rotating = asyncio.create_task(run("ca", "rotate", "root"))
        said = await shop.until(lambda each: each["roots"] == 2)
        await rotating

        # another process, below the new root: its SVIDs live for four seconds, so it rotates
        await run("agent", "register", AGENT, *CALLER, "--ttl", "4")
        await run("agent", "unregister", entry)
        brief = await stack.enter_async_context(agent(gate))
        await brief.until(lambda _: len(brief.serials()) == 3)
        said = shop.said[shop.said.index(said[0]) :]
        assert [each["error"] for each in said + brief.said] == [""] * len(said + brief.said)
        assert good["issuer"] not in {each["issuer"] for each in brief.said}

        # `agent revoke`: nothing works any more
        revoking = asyncio.create_task(run("agent", "revoke", AGENT))
        for each in (shop, brief):
            await each.until(lambda _: revoking.done())
            after = await each.more()
            assert all(line["error"] for line in after)

        all_of_it_is_on_record(
            await gate.events(), shop.serials() | brief.serials(), good["serial"]
        )


def all_of_it_is_on_record(events, serials, good):
    """``good`` is the first serial after the rotation."""
    calls = {e["credential"] for e in events if e["type"] == "llm_call" and not e.get("code")}
    others = calls - {f"svid:{serial}" for serial in serials}
    assert len(others) == 1  # the copy
    assert len(calls) >= 5
    methods = [e.get("method", "") for e in events]
    done = ["principals.create", "entries.add", "principals.rotate", "authority.rotate.root"]
    done += ["entries.add", "entries.remove", "principals.revoke"]
    assert [each for each in methods if each in done] == done
    assert {"svid.issue", "svid.renew"} <= set(methods)
    rotated = datetime.fromisoformat(events[methods.index("principals.rotate")]["time"])
    assert int(good[:12], 16) / 1000 >= rotated.timestamp() - 0.1
    cut = methods.index("principals.revoke")
    refused = [e for e in events[cut:] if e.get("verdict") == "deny"]
    assert {"PC4001"} <= {e["code"] for e in refused} <= {"PC4001", "PC2022"}  # it runs out, too
    # it acts before it is on record; who is told why may ask once more on the same connection
    late = [e for e in events[cut:] if e["type"] in {"llm_call", "llm_result"}]
    assert not [e for e in late if e.get("verdict") == "allow"]
    assert {e["code"] for e in late} <= {"PC4001"}


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
