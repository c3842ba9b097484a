"""If these fail, bytes that are no clean HTTP/1.1 get through unseen, or hold the gate up."""

import asyncio
import json
import socket

import pytest

from portcullis.core.errors import Problem
from portcullis.gateway.bounded import MAX_HEAD
from portcullis.gateway.http import ClientDisconnect, Request, read_body, send_json
from portcullis.gateway.listener import Listener
from portcullis.gateway.live import cuttable

pytestmark = pytest.mark.anyio


class Front:
    """A listener with an application that answers 200 and remembers what reached it."""

    def __init__(self):
        self.seen = []
        self.refused = []
        self.answered = 0

    async def app(self, scope, receive, send):
        self.seen.append(scope["path"])
        if scope["path"] == "/big":
            await send_json(send, 200, b"x" * 2**23)
            self.answered += 1
            return
        if scope["path"] == "/slow":
            await asyncio.sleep(0.3)
        request = Request(scope, receive, send)
        if request.method == "POST":
            try:
                await read_body(receive, 1000)
            except ClientDisconnect:
                return
        try:
            request.check()
        except Exception:
            await send_json(send, 400, b"{}")
            raise
        await send_json(send, 200, b"{}")

    def refuse(self, problem, peer, **who):
        self.refused.append((problem.code, peer))
        return problem


@pytest.fixture
async def front(live):
    made = Front()
    listener = Listener(
        made.app,
        "127.0.0.1:0",
        refused=made.refuse,
        live=live,
        seconds=0.4,
        drain_seconds=1,
        stalled_seconds=0.3,
    )
    await listener.open()
    made.listener = listener
    made.port = int(listener.url.rsplit(":", 1)[1])
    yield made
    await listener.close()


async def talk(port, *pieces, pause=0.0):
    """Send pieces, read until the peer closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


GET = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def test_a_good_request_is_served(front):
    assert (await talk(front.port, GET)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS hello on a plain port
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        (
            b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHo st: a\r\n\r\n",
        b"GET /x HTTP/1.1\r\nX: a\x00b\r\n\r\n",
        b"GET /x HTTP/1.1\nHost: a\rX: y\r\n\r\n",
    ],
)
async def test_bytes_that_readers_disagree_about_are_refused_and_recorded(front, raw):
    answer = await talk(front.port, raw)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 408"))
    document = json.loads(answer.partition(b"\r\n\r\n")[2] or b"{}")
    assert front.refused
    assert front.refused[0][0] == document["code"]


async def test_a_head_that_never_ends_is_cut_by_size(front):
    lines = b"".join(b"X-%d: %s\r\n" % (i, b"a" * 1000) for i in range(MAX_HEAD // 1000 + 2))
    answer = await talk(front.port, b"GET /x HTTP/1.1\r\nHost: a\r\n" + lines)
    assert answer.startswith(b"HTTP/1.1 400")
    assert front.refused[0][0] == "PC1011"


async def test_a_head_that_trickles_is_cut_by_time(front):
    answer = await talk(front.port, b"GET /x HT", b"TP/1.1\r\n", b"Host: a\r\n", pause=0.2)
    assert answer.startswith(b"HTTP/1.1 408")
    assert front.refused[0][0] == "PC1012"


async def test_a_body_that_trickles_is_cut_by_time(front):
    head = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
    answer = await talk(front.port, head, b"{", b" ", pause=0.15)
    assert b"HTTP/1.1 408" in answer
    assert front.refused[0][0] == "PC1012"


async def test_a_second_head_on_a_kept_connection_is_bounded_too(front):
    first = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
    answer = await talk(front.port, first, b"GET /y HT", pause=0.1)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in answer
    assert front.seen == ["/x"]


async def test_a_body_behind_an_unanswered_request_is_cut_by_time(front):
    slow = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
    answer = await talk(
        front.port, slow + b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{"
    )
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in answer
    assert front.refused[0][0] == "PC1012"


LINES = b"X: %s\r\n" % (b"a" * 1000) * (2 * MAX_HEAD // 1000)
CHUNKED = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"


@pytest.mark.parametrize(
    "before", [CHUNKED, b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /x HTTP/1.1\r\n"]
)
async def test_headers_without_end_do_not_fill_the_memory_wherever_they_stand(front, before):
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(before)
    await asyncio.sleep(0.05)
    for _ in range(10):
        writer.write(LINES)
        await asyncio.sleep(0.005)
    assert [code for code, _ in front.refused] == ["PC1011"]
    writer.transport.abort()
    del reader


async def test_trailers_do_not_become_headers(front):
    trailed = CHUNKED + b"Authorization: a\r\nAuthorization: b\r\n\r\n"
    answer = await talk(front.port, trailed + GET)
    assert answer.count(b"HTTP/1.1 200") == 2


async def test_what_follows_an_upgrade_is_not_taken_for_a_request(front):
    inner = GET.replace(b"/x", b"/smuggled")
    head = b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
    outer = head + b"Content-Length: %d\r\n\r\n" % len(inner)
    answer = await talk(front.port, outer, inner, pause=0.1)
    assert answer.startswith(b"HTTP/1.1 400")
    assert "/smuggled" not in front.seen
    assert front.refused[0][0] == "PC1011"


async def test_requests_do_not_pile_up_behind_an_unanswered_one(front):
    slow = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
    await talk(front.port, slow * 1000)
    assert len(front.seen) == 1
    assert front.refused[0][0] == "PC1011"


async def test_a_peer_that_does_not_read_does_not_hold_its_call_for_ever(front):
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port, limit=1024)
    writer.transport.pause_reading()
    writer.write(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n" * 4)
    for _ in range(100):
        await asyncio.sleep(0.03)
        if front.answered and front.answered == len(front.seen):
            break
    assert front.answered == len(front.seen)
    for _ in range(100):
        if writer.transport.is_closing():
            break
        writer.write(GET)
        await asyncio.sleep(0.01)
    assert writer.transport.is_closing()
    del reader


async def test_a_peer_that_reads_slowly_gets_everything(front):
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(GET.replace(b"/x", b"/big"))
    size = 0
    while piece := await reader.read(2**19):
        size += len(piece)
        await asyncio.sleep(0.05)
    assert size > 2**23
    writer.close()


async def test_an_idle_connection_is_closed(front):
    assert await talk(front.port) == b""
    assert not front.refused


async def test_a_client_that_leaves_is_noticed_behind_a_large_body(front, live, context):
    """The gate stops reading while a body waits, and has to begin again to see the end."""
    left = asyncio.Event()

    async def app(scope, receive, send):
        connection = scope["portcullis.connection"]
        await read_body(receive, 2**20)
        with (
            pytest.raises(Problem, match="PC5014"),
            cuttable(),
            live.running(context(), connection),
        ):
            await asyncio.sleep(5)
        left.set()

    front.app = app
    front.listener.config.loaded_app = app
    _, writer = await asyncio.open_connection("127.0.0.1", front.port)
    head = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n"
    writer.write(head)
    await asyncio.sleep(0.05)
    writer.write(b"x" * 200_000)
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    await asyncio.wait_for(left.wait(), 1)


async def test_requests_in_flight_finish_when_the_gate_closes(front):
    running = asyncio.create_task(talk(front.port, GET.replace(b"/x", b"/slow")))
    await asyncio.sleep(0.1)
    await front.listener.close()
    assert (await running).startswith(b"HTTP/1.1 200")


# Leaving


async def test_what_the_kernel_has_queued_is_served_by_a_listener_that_closes(live):
    """Beside another at the same address: whoever the kernel gave to this one stays with it."""
    fronts = [Front(), Front()]
    address, listeners = "127.0.0.1:0", []
    for front in fronts:
        listener = Listener(
            front.app,
            address,
            refused=front.refuse,
            live=live,
            seconds=5,
            drain_seconds=5,
            shared=True,
        )
        await listener.open()
        listeners.append(listener)
        address = listener.url.removeprefix("http://")
    host, port = address.split(":")
    try:
        clients = [socket.create_connection((host, int(port)), timeout=10) for _ in range(60)]
        for client in clients:  # the loop has accepted none of them so far
            client.sendall(GET.replace(b"Connection: close\r\n", b""))
        await listeners[0].close()
        for client in clients:
            answer = await asyncio.to_thread(client.recv, 1000)
            assert answer.startswith(b"HTTP/1.1 200")
        assert len(fronts[0].seen) > 5
        assert len(fronts[0].seen) + len(fronts[1].seen) == 60
    finally:
        for client in clients:
            client.close()
        for listener in listeners:
            await listener.close()


async def test_a_request_that_meets_the_end_on_an_idle_connection_is_answered_as_the_last(front):
    head = GET.replace(b"Connection: close\r\n", b"")
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    idle, held = await asyncio.open_connection("127.0.0.1", front.port)
    for which in (writer, held):
        which.write(head)
    for which in (reader, idle):
        assert b"connection: close" not in (await which.readuntil(b"{}")).lower()
    closing = asyncio.create_task(front.listener.close())
    await asyncio.sleep(0.2)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(head)
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer.lower()
    assert await asyncio.wait_for(idle.read(), 5) == b"", "nobody asked there, so it is closed"
    await asyncio.wait_for(closing, 5)
