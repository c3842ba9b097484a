"""Pages of large calls: if these fail, nobody sees one until the gate is started again."""

import asyncio
import threading

import pytest

from portcullis.control.console.drawing import WAITING, Drawing
from portcullis.core.errors import Problem

pytestmark = pytest.mark.anyio


async def test_a_page_that_could_not_be_begun_takes_nobodys_place(monkeypatch):
    drawing = Drawing()

    def refused(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(drawing._thread, "submit", refused)
        for _ in range(WAITING + 2):
            with pytest.raises(RuntimeError):
                await drawing.make(str)
    assert await drawing.make(lambda: "page") == "page"


async def test_who_comes_when_all_places_are_taken_waits_a_moment_before_he_is_refused():
    drawing, go = Drawing(), threading.Event()
    made = [asyncio.ensure_future(drawing.make(go.wait)) for _ in range(1 + WAITING)]
    try:
        await asyncio.sleep(0)
        with pytest.raises(Problem) as refused:
            await drawing.make(str)
        assert refused.value.code == "PC3056"
        one_more = asyncio.ensure_future(drawing.make(lambda: "page"))
        await asyncio.sleep(0.2)
    finally:
        go.set()
    assert await one_more == "page"
    assert all(await asyncio.gather(*made))
