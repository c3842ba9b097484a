"""If this fails, a gateway that lost its network goes on serving agents that were killed meanwhile.

The gateway ``far`` and its agent are in a network namespace of their own; the one wire out of it
leads to the Redis that the kill feed goes over. Taking the wire down is the partition.
"""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import standins
from e2e.processes.fleet import LOOK, PATIENCE, PORTCULLIS, fleet, until
from needs import needs_namespaces, needs_redis
from portcullis.config.places import gateway_file
from ports import free_port
from redis_servers import redis_server

pytestmark = [pytest.mark.anyio, needs_namespaces, needs_redis]
LEASE = 1.0
NAME = f"pc{os.getpid() % 100_000}"
HERE, THERE = f"10.213.{os.getpid() % 250}.1", f"10.213.{os.getpid() % 250}.2"

AGENT = """\
import http.client, json, sys, time
port, token, body = int(sys.argv[1]), sys.argv[2], sys.argv[3]
headers = {"authorization": "Bearer " + token, "content-type": "application/json"}
while True:
    began = time.monotonic()
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        link.request("POST", "/v1/calls", body, headers)
        code = json.loads(link.getresponse().read()).get("code", "")
    except OSError as error:
        code = type(error).__name__
    link.close()
    print(json.dumps([began, code]), flush=True)
    time.sleep(0.02)
"""


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextlib.contextmanager
def namespace():
    """A namespace with one wire to ours."""
    try:
        ip("netns", "add", NAME)
        ip("link", "add", NAME, "type", "veth", "peer", "name", "out", "netns", NAME)
        ip("addr", "add", f"{HERE}/30", "dev", NAME)
        ip("link", "set", NAME, "up")
        ip("-n", NAME, "addr", "add", f"{THERE}/30", "dev", "out")
        for name in ("lo", "out"):
            ip("-n", NAME, "link", "set", name, "up")
        yield
    finally:
        subprocess.run(["ip", "netns", "del", NAME], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", NAME], check=False, capture_output=True)


@pytest.fixture
def server():
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="pc-"))
    options = ("--port", str(port), "--bind", HERE, "--protected-mode", "no")
    with namespace(), redis_server(folder, *options):
        yield f"redis://{HERE}:{port}/?plaintext=allowed"
    shutil.rmtree(folder)


class Asking:
    """An agent in the namespace that asks again and again: when it did, and the codes."""

    def __init__(self, process):
        self.said = []
        self._reading = asyncio.ensure_future(self._read(process.stdout))

    async def _read(self, lines):
        async for line in lines:
            self.said.append(tuple(json.loads(line)))

    async def hears(self, code, seconds=10.0):
        """When it first heard this code from now on."""
        begin = len(self.said)
        return await until(
            lambda: next((at for at, c in self.said[begin:] if c == code), None), seconds
        )


@contextlib.asynccontextmanager
async def inside(*words, **options):
    """A process in the namespace."""
    process = await asyncio.create_subprocess_exec("ip", "netns", "exec", NAME, *words, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def test_a_gateway_without_its_network_refuses_everything_within_its_lease(tmp_path, server):
    secret = tmp_path / "feed.url"
    secret.touch(mode=0o600)
    secret.write_text(server)
    feed = {"via": "redis", "url": f"file:{secret}", "lease_seconds": LEASE}
    commands = (("control", "control"), ("near", "gateway", "--name", "near"))
    with (tmp_path / "far.log").open("wb") as output:
        async with (
            fleet(tmp_path, *commands, gateways=("near",), settings={"feed": feed}) as made,
            inside(*(*PORTCULLIS, "gateway", "--name", "far"), cwd=tmp_path, stderr=output),
        ):
            await until(lambda: made.pid("far"), PATIENCE)
            mine, other = await made.agent(), await made.agent("support-agent-prod-002")
            url = json.loads(gateway_file(made.config, "far").read_text())["gate"]
            words = (sys.executable, "-c", AGENT, url.rpartition(":")[2], mine, json.dumps(LOOK))
            async with inside(*words, stdout=asyncio.subprocess.PIPE) as process:
                asking = Asking(process)
                await asking.hears("", PATIENCE)
                await _partition(made, asking, mine, other)


async def _partition(made, asking, mine, other):
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(ip, "link", "set", NAME, "down")
    cut = loop.time()
    killing = ("kill", "--agent", standins.AGENT, "--json")
    done = json.loads(await made.run(*killing, code=1))
    answers = {one["gateway"]: one["acknowledged_ms"] for one in done["gateways"]}
    assert answers["far"] is None
    assert answers["near"] is not None
    stale = await asking.hears("PC4002")
    assert stale - cut < LEASE + 0.25
    later = [code for at, code in asking.said if at > cut + LEASE + 0.25]
    assert set(later) <= {"PC4002", "PC4001"}
    assert await made.codes(other, 3) == {"": 3}  # the other gateway goes on
    assert await made.codes(mine, 3) == {"PC4001": 3}
    await asyncio.to_thread(ip, "link", "set", NAME, "up")
    await asking.hears("PC4001")  # it took a snapshot: the kill that it missed is in it
    undone = await made.run(
        "kill", "--undo", "--agent", standins.AGENT, "--reason", "over", "--json"
    )
    assert all(one["acknowledged_ms"] is not None for one in json.loads(undone)["gateways"])
    await asking.hears("")
