"""If these fail, a stream runs on unwatched, or is looked at after its end."""

import asyncio

import pytest

from portcullis.gateway.ticks import Ticks

pytestmark = pytest.mark.anyio


class Looks:
    """Counts looks, of which the last one that is ``wanted`` says that it was the last."""

    def __init__(self, wanted):
        self.wanted = wanted
        self.seen = 0
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def __call__(self):
        self.seen += 1
        if self.seen == self.wanted:
            self.begun.set()
            await self.may_end.wait()
        return self.seen < self.wanted


async def test_it_looks_again_and_again_until_a_look_says_no_more():
    looks = Looks(3)
    looks.may_end.set()
    ticks = Ticks(0.001, looks)
    await asyncio.wait_for(looks.begun.wait(), 60)
    await asyncio.sleep(0.02)
    assert looks.seen == 3
    await ticks.end()


async def test_its_end_waits_for_a_look_that_has_begun_and_none_follows():
    looks = Looks(1)
    ticks = Ticks(0, looks)
    await asyncio.wait_for(looks.begun.wait(), 60)
    ending = asyncio.create_task(ticks.end())
    await asyncio.sleep(0.01)
    assert not ending.done()
    looks.wanted = 9
    looks.may_end.set()
    await asyncio.wait_for(ending, 60)
    await asyncio.sleep(0.01)
    assert looks.seen == 1


async def test_what_ends_before_its_first_look_is_never_looked_at():
    looks = Looks(1)
    await Ticks(0.01, looks).end()
    await asyncio.sleep(0.05)
    assert looks.seen == 0
