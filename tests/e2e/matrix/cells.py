"""Which cells a test fills: one case for each route, marked for the matrix; and waiting."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

LLM = ("llm-json", "llm-stream")
MCP = ("mcp-http", "mcp-http-legacy", "mcp-stdio")
MCP_HTTP = MCP[:2]
ALL = (*LLM, *MCP)
HTTP = (*LLM, *MCP_HTTP)
GUARD = "guard"
TOOLS = (*MCP, GUARD)
EVERY = (*ALL, GUARD)
NETWORK = (*HTTP, GUARD)


def cells(control: str, phases: str, *routes: str, argument: str = "route"):
    """Run the test on each route (on a model's, with both official clients).

    ``phases`` are those whose cells it fills, with spaces between them. Another ``argument``
    than the fixture ``route`` gets the name of the case.
    """
    cases = [
        pytest.param(
            case,
            marks=[pytest.mark.control(control, name, phase) for phase in phases.split()],
            id=case,
        )
        for name in routes
        for case in ([f"{name}/openai", f"{name}/anthropic"] if name in LLM else [name])
    ]
    return pytest.mark.parametrize(argument, cases, indirect=argument == "route")


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for what another process, or the log, will show."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - no event comes from a file
            await asyncio.sleep(0.01)


async def begun(folder: Path, asking: asyncio.Future[object]) -> None:
    """Wait until the upstream that was asked has begun to answer, and waits."""
    await until(lambda: asking.done() or (folder / "begun").exists())
    assert not asking.done()


@contextlib.asynccontextmanager
async def silent(route: Any, how: str, folder: Path) -> AsyncIterator[asyncio.Task[Any]]:
    """A call whose upstream has begun (``wait``: not to answer) and says nothing more.

    The upstream is told to stop waiting when the block is left.
    """
    asking = asyncio.create_task(route.scripted(how, folder))
    try:
        await begun(folder, asking)
        yield asking
    finally:
        asking.cancel()
        for name in ("go", "end"):
            (folder / name).touch()
