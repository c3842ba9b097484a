"""What the tests of egress ask, and in which cells of the matrix they stand."""

import asyncio

import pytest

from e2e.egress.rules import RAW
from e2e.egress.stage import code_in

KEY = "AKIAIOSFODNN7EXAMPLE"


def cell(control, phases):
    """Marks of the cells that a test fills."""
    marks = [pytest.mark.control(control, "egress", phase) for phase in phases.split()]

    def marked(test):
        for mark in marks:
            test = mark(test)
        return test

    return marked


async def connect(stage, where, agent="coder", extra=""):
    """The code of the answer to a CONNECT; empty when it was let through."""
    answer = await asyncio.wait_for(
        first(stage, f"CONNECT {where} HTTP/1.1\r\nhost: {where}\r\n{extra}\r\n", agent), 10
    )
    return code_in(answer)


async def first(stage, text, agent="coder"):
    """The head of the first answer, with its body if the gate closes."""
    reader, writer = await stage.dial(agent)
    try:
        writer.write(text.encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        return head if head.startswith("HTTP/1.1 20") else head + (await reader.read(-1)).decode()
    finally:
        writer.transport.abort()


def reached(stage):
    return len(stage.hosts.seen)


async def raw(stage, script):
    """Ask the host that answers with a script; the status and the text."""
    stage.hosts.script = script
    async with stage.http() as http:
        answer = await http.get(f"http://{RAW}:{stage.ports['raw']}/")
        return code_in(answer.text), answer
