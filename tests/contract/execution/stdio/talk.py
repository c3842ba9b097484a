"""Servers made of a few lines, and how to talk to them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from portcullis.core.errors import Problem

PRELUDE = """
import json, os, signal, sys, time, threading
out = threading.Lock()
def say(**message):
    with out:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\\n"); sys.stdout.flush()
def heard():
    for line in sys.stdin:
        yield json.loads(line)
"""
ECHO = """
for m in heard():
    if "id" in m and "method" in m:
        say(id=m["id"], result={"method": m["method"], "params": m.get("params")})
"""


def ask(request_id: object, method: str = "tools/call", **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


async def answer(channel, message) -> list[dict[str, object]]:
    async with asyncio.timeout(10), aclosing(channel.request(message, {})) as incoming:
        return [one.message async for one in incoming]


async def refused(channel, message) -> Problem:
    with pytest.raises(Problem) as caught:
        await answer(channel, message)
    return caught.value
