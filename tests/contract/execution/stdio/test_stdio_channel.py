"""A channel to a process: it serves concurrent users, and survives any process."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from contract.execution.stdio.talk import ECHO, answer, ask, refused

pytestmark = pytest.mark.anyio


async def test_users_of_one_channel_who_choose_the_same_id_get_their_own_answers(open_server):
    channel = await open_server(ECHO)
    answers = await asyncio.gather(
        *(answer(channel, ask(request_id, n=n)) for n, request_id in enumerate([1, 1, "1", 1]))
    )
    assert [(a[0]["id"], a[0]["result"]["params"]["n"]) for a in answers] == [
        (1, 0), (1, 1), ("1", 2), (1, 3),
    ]  # fmt: skip


async def test_progress_finds_its_request_under_the_clients_own_token(open_server):
    channel = await open_server("""
    for m in heard():
        t = m["params"]["_meta"]["progressToken"]
        n = m["params"]["n"]
        say(method="notifications/progress", params={"progressToken": t, "progress": n})
        say(method="notifications/progress", params={"progressToken": 999, "progress": 666})
        say(id=m["id"], result={})
    """)
    answers = await asyncio.gather(
        *(answer(channel, ask(n, n=n, _meta={"progressToken": "same"})) for n in (1, 2))
    )
    assert [[m.get("params") for m in a if "method" in m] for a in answers] == [
        [{"progressToken": "same", "progress": 1}],
        [{"progressToken": "same", "progress": 2}],
    ]


async def test_a_subscriptions_notifications_find_it_under_the_clients_own_id(open_server):
    channel = await open_server(
        """
        key = "io.modelcontextprotocol/subscriptionId"
        for m in heard():
            meta = {"_meta": {key: m["id"]}}
            say(method="notifications/subscriptions/acknowledged", params=meta)
            say(id=m["id"], result=meta)
        """,
        legacy=False,
    )
    first, last = await answer(channel, ask("mine", "subscriptions/listen"))
    key = "io.modelcontextprotocol/subscriptionId"
    assert first["params"]["_meta"] == {key: "mine"}
    assert (last["id"], last["result"]["_meta"]) == ("mine", {key: "mine"})


SAMPLING = """
for m in heard():
    if m.get("method") == "tools/call":
        asked = m["id"]
        say(id="s1", method="sampling/createMessage", params={})
    elif m.get("id") == "s1":
        say(id=asked, result={"got": m.get("result"), "error": m.get("error")})
"""


async def test_a_servers_request_reaches_the_caller_when_nobody_listens(open_server):
    channel = await open_server(SAMPLING)
    got = []
    async with aclosing(channel.request(ask(7), {})) as incoming:
        async for one in incoming:
            got.append(one.message)
            if one.message.get("method") == "sampling/createMessage":
                await channel.notify({"jsonrpc": "2.0", "id": "s1", "result": {"text": "x"}}, {})
    assert got[-1] == {"jsonrpc": "2.0", "id": 7, "result": {"got": {"text": "x"}, "error": None}}


async def test_a_servers_request_reaches_the_listener_when_somebody_listens(open_server):
    channel = await open_server(SAMPLING)
    heard: list[object] = []

    async def listen() -> None:
        async for incoming in channel.listen(None):
            heard.append((incoming.message["method"], incoming.event_id))
            await channel.notify({"jsonrpc": "2.0", "id": "s1", "result": {}}, {})

    listener = asyncio.create_task(listen())
    await asyncio.sleep(0)
    assert len(await answer(channel, ask(7))) == 1
    assert heard == [("sampling/createMessage", "1")]
    listener.cancel()


async def test_a_servers_request_that_the_caller_left_unread_waits_for_a_listener(open_server):
    channel = await open_server("""
    for m in heard():
        if m.get("method") == "tools/call":
            say(method="notifications/message", params={})
            say(id="s1", method="sampling/createMessage", params={})
    """)
    async with aclosing(channel.request(ask(7), {})) as incoming:
        assert (await anext(incoming)).message["method"] == "notifications/message"
        await asyncio.sleep(0.3)
    async with asyncio.timeout(5), aclosing(channel.listen(None)) as messages:
        assert (await anext(messages)).message["id"] == "s1"


async def test_a_server_that_asks_into_the_void_is_answered_and_does_not_hang(open_server, limits):
    channel = await open_server("""
    for n in range(400):
        say(id=f"s{n}", method="sampling/createMessage", params={})
    refused = 0
    for m in heard():
        if "error" in m:
            refused += 1
        elif m.get("method") == "tools/call":
            say(id=m["id"], result={"refused": refused})
    """)
    await asyncio.sleep(0.5)
    (last,) = [m for m in await answer(channel, ask(1)) if "result" in m]
    assert last["result"]["refused"] == 400 - 256


async def test_what_a_server_says_by_itself_can_be_resumed(open_server):
    channel = await open_server("""
    for n in range(5):
        say(method="notifications/message", params={"n": n})
    for m in heard():
        pass
    """)
    first = []
    async with asyncio.timeout(5), aclosing(channel.listen(None)) as messages:
        async for incoming in messages:
            first.append(incoming)
            if len(first) == 5:
                break
    again = []
    async with asyncio.timeout(5), aclosing(channel.listen(first[1].event_id)) as messages:
        async for incoming in messages:
            again.append(incoming.message["params"]["n"])
            if len(again) == 3:
                break
    assert again == [2, 3, 4]


async def test_leaving_a_request_cancels_it_at_the_server_under_the_servers_id(open_server):
    channel = await open_server("""
    for m in heard():
        if m.get("method") == "tools/call" and m["params"].get("slow"):
            slow = m["id"]
        elif m.get("method") == "notifications/cancelled":
            cancelled = m["params"]["requestId"]
        elif m.get("method") == "tools/call":
            say(id=m["id"], result={"same": slow == cancelled})
    """)
    left = asyncio.create_task(answer(channel, ask("left", slow=True)))
    await asyncio.sleep(0.3)
    left.cancel()
    await asyncio.sleep(0.1)
    assert (await answer(channel, ask("next")))[0]["result"] == {"same": True}


async def test_a_cancellation_can_only_name_a_request_in_flight(open_server):
    channel = await open_server("""
    seen = []
    for m in heard():
        if m.get("method") == "notifications/cancelled":
            seen.append(m["params"]["requestId"])
        elif m["params"].get("tell"):
            say(id=m["id"], result={"seen": seen})
        else:
            waits = m["id"]
    """)
    waiting = asyncio.create_task(answer(channel, ask("mine")))
    await asyncio.sleep(0.3)
    for named in (1, True, "other", None, "mine"):
        cancel = {"method": "notifications/cancelled", "params": {"requestId": named}}
        await channel.notify({"jsonrpc": "2.0", **cancel}, {})
    assert (await answer(channel, ask("t", tell=True)))[0]["result"] == {"seen": [1]}
    waiting.cancel()


async def test_too_many_requests_at_once_are_refused(open_server):
    channel = await open_server("time.sleep(60)")
    waiting = [asyncio.create_task(refused(channel, ask(n))) for n in range(8)]
    await asyncio.sleep(0.05)
    assert (await refused(channel, ask("more"))).code == "PC5006"
    await channel.close()
    assert {(await one).code for one in waiting} == {"PC5011"}
