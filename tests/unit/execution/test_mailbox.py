"""What a server says by itself reaches the listener once, in order, and can be resumed."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from portcullis.core.errors import Problem
from portcullis.execution.mcp.mailbox import Mailbox

pytestmark = pytest.mark.anyio


def news(number: int) -> dict[str, object]:
    return {"jsonrpc": "2.0", "method": f"notifications/{number}"}


async def take(mailbox: Mailbox, count: int, after: str | None = None) -> list[tuple[str, str]]:
    taken = []
    async with asyncio.timeout(2), aclosing(mailbox.listen(after)) as messages:
        async for incoming in messages:
            taken.append((incoming.message["method"][14:], incoming.event_id))
            if len(taken) == count:
                break
    return taken


async def test_what_came_before_the_listener_is_not_lost():
    mailbox = Mailbox(count=4, size=1000)
    for number in range(3):
        assert mailbox.put(news(number), 10) == []
    assert await take(mailbox, 3) == [("0", "1"), ("1", "2"), ("2", "3")]


async def test_nothing_is_told_twice_unless_asked_for():
    mailbox = Mailbox(count=4, size=1000)
    for number in range(4):
        mailbox.put(news(number), 10)
    assert await take(mailbox, 2) == [("0", "1"), ("1", "2")]
    assert await take(mailbox, 1) == [("2", "3")]
    assert await take(mailbox, 3, after="1") == [("1", "2"), ("2", "3"), ("3", "4")]


@pytest.mark.parametrize("after", ["", "x", "-1", "²", "9" * 4000])
async def test_an_id_that_is_not_ours_does_no_harm(after):
    mailbox = Mailbox(count=4, size=1000)
    mailbox.put(news(0), 10)
    listener = asyncio.create_task(take(mailbox, 1, after=after))
    await asyncio.sleep(0.01)
    mailbox.put(news(1), 10)
    assert (await listener)[0][0] in {"0", "1"}


async def test_it_stays_within_its_bounds_and_hands_back_what_nobody_saw():
    mailbox = Mailbox(count=2, size=100)
    assert mailbox.put(news(0), 10) == []
    assert mailbox.put(news(1), 10) == []
    assert mailbox.put(news(2), 10) == [news(0)]
    assert mailbox.put(news(3), 95) == [news(1), news(2)]
    assert mailbox.put(news(4), 101) == [news(3), news(4)]


async def test_what_was_seen_is_not_handed_back():
    mailbox = Mailbox(count=1, size=100)
    mailbox.put(news(0), 10)
    await take(mailbox, 1)
    assert mailbox.put(news(1), 10) == []


async def test_a_new_listener_takes_over():
    mailbox = Mailbox(count=4, size=100)
    first = asyncio.create_task(take(mailbox, 5))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(take(mailbox, 1))
    await asyncio.sleep(0.01)
    mailbox.put(news(0), 1)
    assert await second == [("0", "1")]
    assert await first == []
    assert not mailbox.listening


async def test_a_listener_reads_what_is_there_and_then_hears_of_the_end():
    mailbox = Mailbox(count=4, size=100)
    mailbox.put(news(0), 1)
    mailbox.fail(Problem("PC5011", "the server ended"))
    listener = mailbox.listen(None)
    assert (await anext(listener)).message == news(0)
    with pytest.raises(Problem):
        await anext(listener)
