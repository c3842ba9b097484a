"""If these fail, one agent's slow names hold up everybody: other names, other agents, the gate."""

import asyncio
import socket
import threading
import time

import pytest

from portcullis.core.errors import Problem
from portcullis.execution.egress.names import Names

pytestmark = pytest.mark.anyio
FOUND = [(2, 1, 6, "", ("8.8.8.8", 0))]


@pytest.fixture
def slow(monkeypatch):
    """A resolver to which some names take long; what it was asked."""
    over, asked = threading.Event(), []

    def getaddrinfo(host, *_, **__):
        asked.append(host)
        if host.startswith("slow"):
            over.wait(20)
            raise socket.gaierror
        return FOUND

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked
    over.set()


async def code(names, host, agent):
    try:
        await names.addresses(host, agent)
    except Problem as problem:
        return problem.code
    return ""


async def test_who_asks_for_slow_names_has_a_share_and_nobody_else_waits(slow):
    names = Names(0.2)
    try:
        codes = await asyncio.gather(*(code(names, f"slow{n}.x", "bad") for n in range(40)))
        assert sorted(codes) == ["PC5025"] * 36 + ["PC5051"] * 4
        assert len(slow) == 4
        assert await code(names, "slow0.x", "bad") == "PC5051"  # still being asked: not once more
        assert len(slow) == 4
        began = time.monotonic()
        assert await names.addresses("a.x", "good") == ("8.8.8.8",)
        await asyncio.to_thread(int)  # the threads of everything else are free
        assert time.monotonic() - began < 2
    finally:
        names.close()


async def test_that_a_name_has_no_address_is_known_for_a_while(monkeypatch):
    asked = []

    def getaddrinfo(host, *_, **__):
        asked.append(host)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    names = Names(2)
    try:
        assert [await code(names, "none.x", "a") for _ in range(3)] == ["PC5051"] * 3
        assert asked == ["none.x"]
    finally:
        names.close()
