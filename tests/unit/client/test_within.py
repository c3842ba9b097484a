"""If this fails, boxes in sessions ask a gate that shuts down as often as they can."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from portcullis.client import within

pytestmark = pytest.mark.anyio


async def test_an_answer_that_comes_at_once_is_no_reason_to_ask_again(monkeypatch):
    asked = []

    async def ask(*words, **options):
        asked.append((words, options))
        return {"open": True}

    async def grant(*words):
        return SimpleNamespace(headers={}, token="")

    link = SimpleNamespace(context=None, grant=grant)
    gate = SimpleNamespace(url="https://gate.test", link=lambda: link)
    monkeypatch.setattr(within, "ask", ask)
    watching = asyncio.ensure_future(within.Within(gate, "delegation")._watch())
    await asyncio.sleep(0.2)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    assert len(asked) == 1
