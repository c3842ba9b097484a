"""If these fail, a stranger's request is taken for a gateway's, a request is another one after it
was passed on, or what runs at another gateway is out of reach."""

import asyncio
import contextlib
import stat

import msgspec
import pytest

from portcullis.core.credential import Peer
from portcullis.core.errors import Problem
from portcullis.core.spiffe import SpiffeId
from portcullis.core.verdict import Deny
from portcullis.gateway.http import Request, read_body, send_head, send_json
from portcullis.gateway.live import Connection
from portcullis.gateway.owned import Owned
from portcullis.gateway.relay import RELAYED, Ids, Relay
from portcullis.gateway.relay_door import Door
from portcullis.gateway.relay_ways import Ways as To
from portcullis.store.claims import SharedClaims
from portcullis.wire import relay as wire

pytestmark = pytest.mark.anyio
KEY = bytes(range(32))
GATEWAY = SpiffeId("shop.test", "/gateway/gate")
PEER = Peer(
    id=SpiffeId("shop.test", "/agent/shop-1"),
    serial="01",
    thumbprint="t",
    anchor="a",
    issued_at=900.0,
    expires_at=2000.0,
)


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
    ]
)
def anyio_backend(request):
    return request.param


class Owner:
    """The gateway ``two``: what reached it, and what it answers."""

    def __init__(self):
        self.scopes, self.bodies, self.left = [], [], asyncio.Event()
        self.how = "echo"
        self.go = asyncio.Event()

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        self.bodies.append(await read_body(receive, 2**24))
        if self.how == "silent":
            await asyncio.sleep(60)
        if self.how == "dies":
            scope["portcullis.connection"].abort()
            return
        if self.how in {"stream", "breaks"}:
            await send_head(send, 200, [(b"content-type", b"text/event-stream")])
            await send({"type": "http.response.body", "body": b"one", "more_body": True})
            if self.how == "breaks":
                scope["portcullis.connection"].abort()
                return
            while (await receive())["type"] != "http.disconnect":
                continue
            self.left.set()
            return
        await send_json(send, 201, self.bodies[-1], [(b"x-one", b"1"), (b"x-one", b"2")])


class Client:
    """One request at the gateway ``one``, and the answer to it."""

    def __init__(self, path, body=b"", headers=(), *, tls=False):
        self.messages, self.sent = asyncio.Queue(), []
        self.streams = asyncio.Event()
        pieces = [body[at : at + 50_000] for at in range(0, len(body), 50_000)] or [b""]
        for number, piece in enumerate(pieces, 1):
            more = number < len(pieces)
            self.messages.put_nowait({"type": "http.request", "body": piece, "more_body": more})
        self.connection = Connection(lambda: None, PEER if tls else None)
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "scheme": "https",
            "server": ("127.0.0.1", 8443),
            "client": ("127.0.0.1", 50_000),
            "headers": [(b"host", b"gate.shop.test:8443"), *headers],
            "portcullis.connection": self.connection,
        }
        if tls:
            scope["portcullis.peer"] = PEER
        self.request = Request(scope, self.messages.get, self.take)

    async def take(self, message):
        self.sent.append(message)
        if message.get("body"):
            self.streams.set()

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent)

    def leave(self):
        self.messages.put_nowait({"type": "http.disconnect"})
        self.connection.gone = True


class Ways:
    """From ``one`` to ``two``."""

    def __init__(self, folder, live, clock, **options):
        self.folder = folder / ("long" * 40)
        self.folder.mkdir()
        self.denied = None
        self.busy = False
        self.retired = ()
        self.drain_seconds = options.pop("drain_seconds", 0.1)
        self.two = Owner()
        self.calls = {name: Owned("calls", name, KEY) for name in ("one", "two")}
        self.sessions = {name: Owned("sessions", name, KEY) for name in ("one", "two")}
        self.claims = SharedClaims(folder / "claims.db", "one")
        options = {"seconds": 5.0, "stays": lambda server: server == "shell"} | options
        self.ways = To(self.folder)
        self.relay = Relay(
            "one",
            self.ways,
            KEY,
            ids=Ids(self.calls["one"], self.sessions["one"]),
            claims=self.claims,
            claimed=lambda server, context: f"{server}:{context.principal.id}",
            contained=lambda context: self.denied,
            clock=clock,
            **options,
        )
        self.door = Door(
            self.two,
            "two",
            self.folder,
            KEY,
            gateway=GATEWAY,
            refused=lambda *_, **__: None,
            live=live,
            clock=clock,
            seconds=1.0,
            drain_seconds=self.drain_seconds,
            busy=lambda: self.busy,
            retired=lambda: self.retired,
        )

    @property
    def place(self):
        return f"/{self.calls['two']('e1')}/result"

    async def send(self, client, context, place=None):
        place = self.place if place is None else place
        return await self.relay.passed_on(client.request, context, "v1/calls", place)


@pytest.fixture
async def ways(tmp_path, live, clock):
    made = Ways(tmp_path, live, clock)
    async with made.door.open():
        yield made
    made.ways.close()
    assert not list(made.folder.iterdir())


# Whose ids they are


def test_an_id_says_its_gateway_only_as_that_gateway_made_it():
    one, two = Owned("calls", "one", KEY), Owned("calls", "two", KEY)
    mine, theirs = one("e1"), two("e1")
    assert theirs == two("e1")
    assert (one.elsewhere(theirs), two.elsewhere(mine)) == ("two", "one")
    assert one.elsewhere(mine) is None
    name, unique, mac = theirs.split(".")
    forged = [
        f"three.{unique}.{mac}",
        f"two.e2.{mac}",
        f"two.e1.{mac[:-1]}{'A' if mac[-1] != 'A' else 'B'}",
        f"../two.e1.{mac}",
        f"{name}.{unique}",
        "",
        "x" * 100_000,
        Owned("sessions", "two", KEY)("e1"),
        Owned("calls", "two", bytes(32))("e1"),
    ]
    assert [one.elsewhere(id_) for id_ in forged] == [None] * len(forged)


def head(**changes):
    made = wire.Head(
        to="two",
        by="one",
        at=1000.0,
        method="POST",
        path="/",
        raw_path=b"/",
        query=b"",
        scheme="http",
        server=None,
        client=None,
        headers=((b"host", b"a"),),
        tls=True,
        peer=PEER,
    )
    return msgspec.structs.replace(made, **changes)


def test_a_head_is_taken_from_a_gateway_for_this_one_just_now():
    closed = wire.close_head(head(), KEY)
    assert wire.open_head(closed, KEY, to="two", now=1001.0) == head()
    flipped = closed[:-1] + bytes([closed[-1] ^ 1])
    for content, key, to, now in (
        (closed, bytes(32), "two", 1001.0),
        (closed, KEY, "three", 1001.0),
        (closed, KEY, "two", 1031.0),
        (closed, KEY, "two", 969.0),
        (flipped, KEY, "two", 1001.0),
        (b"", KEY, "two", 1001.0),
    ):
        with pytest.raises(Problem, match="PC7051"):
            wire.open_head(content, key, to=to, now=now)
    with pytest.raises(Problem, match="PC1011"):
        wire.close_head(head(path="x" * wire.MAX_HEAD), KEY)


def test_a_frame_is_of_a_known_kind_and_no_longer_than_it_may_be():
    for data in (b"\x00\0\0\0\0", b"\x09\0\0\0\0", b"\x03\0\0\0\x01", b"\x02\x7f\0\0\0"):
        with pytest.raises(Problem, match="PC7051"):
            wire.prefix(data)
    assert wire.prefix(wire.frame(wire.Kind.BODY, b"abc")) == (wire.Kind.BODY, 3)


# What is passed on


async def test_a_request_and_its_answer_arrive_as_they_were(ways, context):
    body = bytes(range(256)) * 4096
    more = [(b"authorization", b"DPoP x"), (b"accept", b"a"), (b"accept", b"b")]
    more.append((b"x-long", b"x" * 60_000))
    client = Client("/v1/calls/x/result", body, more, tls=True)
    assert await ways.send(client, context())
    assert ways.two.bodies == [body]
    assert client.body == body
    assert client.sent[0]["status"] == 201
    assert client.sent[0]["headers"][:2] == [(b"x-one", b"1"), (b"x-one", b"2")]
    scope = ways.two.scopes[0]
    for name in ("method", "path", "raw_path", "query_string", "scheme", "server", "client"):
        assert scope[name] == client.request.scope[name]
    assert scope["headers"] == client.request.scope["headers"]
    assert (scope["portcullis.peer"], scope[RELAYED]) == (PEER, "one")
    plain = Client("/v1/calls/x/result")
    await ways.send(plain, context())
    assert "portcullis.peer" not in ways.two.scopes[1]
    relayed = Request(scope, None, None)
    assert not ways.relay.concerns(relayed, "v1/calls", ways.place), "it goes no further"


async def test_what_is_kept_here_or_was_never_given_is_served_here(ways, context):
    for place in (f"/{ways.calls['one']('e1')}/result", "/e1/result", "", "/x/y/result"):
        client = Client("/v1/calls")
        assert not ways.relay.concerns(client.request, "v1/calls", place)
        assert not await ways.send(client, context(), place)
    assert not ways.relay.concerns(Client("/openai/v1").request, "openai", "v1")


async def test_a_server_s_process_stays_at_the_gateway_that_has_it(ways, context):
    version = [(b"mcp-protocol-version", b"2026-07-28")]
    await ways.claims.claim("shell:shop-1", "two")

    async def sent(server, agent="shop-1", headers=version):
        client = Client(f"/mcp/{server}", headers=headers)
        return await ways.relay.passed_on(client.request, context(agent), "mcp", server)

    assert await sent("shell")
    assert not await sent("orders")
    assert not await sent("shell", headers=[(b"mcp-protocol-version", b"2025-06-18")])
    assert not await sent("shell", "shop-2"), "whoever comes first keeps it"
    await ways.claims.claim("shell:shop-3", "gone")
    assert not await sent("shell", "shop-3"), "it is taken over from a gateway that is gone"
    assert await ways.claims.claim("shell:shop-3", "two") == "one"


# Who may not


async def test_nothing_is_served_that_no_gateway_has_sent(ways):
    place = ways.folder / "two.sock"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    old = wire.close_head(head(at=900.0), KEY)
    forged = wire.close_head(head(), bytes(32))
    for first in (
        b"POST / HTTP/1.1\r\nhost: x\r\n\r\n",
        wire.frame(wire.Kind.HEAD, old),
        wire.frame(wire.Kind.HEAD, forged),
        wire.frame(wire.Kind.BODY, b"x"),
    ):
        with contextlib.chdir(ways.folder):
            reader, writer = await asyncio.open_unix_connection("two.sock")
        writer.write(first)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
    assert not ways.two.scopes


async def test_nothing_is_served_that_a_retired_gateway_has_sent(ways, context):
    ways.retired = ("three",)
    assert await ways.send(Client("/v1/calls"), context())
    ways.retired = ("one",)
    with pytest.raises(Problem, match="PC7051"):
        await ways.send(Client("/v1/calls"), context())
    assert len(ways.two.scopes) == 1


async def test_who_is_cut_off_is_refused_here_and_nothing_is_passed_on(ways, context):
    ways.denied = Deny(code="PC4001", reason="cut")
    with pytest.raises(Problem, match="PC4001"):
        await ways.send(Client("/v1/calls"), context())
    assert not ways.two.scopes


async def test_a_certificate_that_is_cut_off_there_is_refused_there(ways, context, feed):
    feed.cuts["shop-1"] = "cut"
    client = Client("/v1/calls", tls=True)
    await ways.send(client, context())
    assert client.sent[0]["status"] == 403
    assert b"PC4001" in client.body
    assert not ways.two.scopes


# What ends it


async def test_a_stream_ends_when_its_caller_is_cut_off_here_or_leaves(ways, context):
    ways.two.how = "stream"
    for end in ("cancel", "leave"):
        ways.two.left.clear()
        client = Client("/v1/calls")
        task = asyncio.create_task(ways.send(client, context()))
        await asyncio.wait_for(client.streams.wait(), 5)
        if end == "cancel":  # as ``Live`` does
            task.cancel(Problem("PC4001", "cut"))
            with pytest.raises(Problem, match="PC4001"):
                await task
        else:
            client.leave()
            assert await asyncio.wait_for(task, 5)
        await asyncio.wait_for(ways.two.left.wait(), 5)


async def test_a_cut_there_ends_it_here(ways, context, live, feed):
    ways.two.how = "stream"
    client = Client("/v1/calls", tls=True)
    task = asyncio.create_task(ways.send(client, context()))
    await asyncio.wait_for(client.streams.wait(), 5)
    feed.cuts["shop-1"] = "cut"
    live.sweep()
    with pytest.raises(Problem, match="PC7051"):
        await asyncio.wait_for(task, 5)


@pytest.mark.parametrize("how", ["dies", "breaks", "silent"])
async def test_an_owner_that_fails_is_told_so(ways, context, how, monkeypatch):
    ways.two.how = how
    monkeypatch.setattr(ways.relay, "_seconds", 0.2)
    client = Client("/v1/calls")
    with pytest.raises(Problem, match="PC7051"):
        await ways.send(client, context())
    assert not any(message.get("more_body") is False for message in client.sent)


async def test_an_owner_that_is_gone_has_taken_what_it_kept_with_it(ways, context):
    gone = {name: Owned(name, "gone", KEY) for name in ("calls", "sessions")}
    with pytest.raises(Problem, match="PC5020"):
        await ways.send(Client("/v1/calls"), context(), f"/{gone['calls']('e1')}/result")
    session = [(b"mcp-session-id", gone["sessions"]("s").encode())]
    client = Client("/mcp/orders", headers=session)
    with pytest.raises(Problem, match="PC1035"):
        await ways.relay.passed_on(client.request, context(), "mcp", "orders")


# An end


async def test_what_is_kept_is_served_until_nobody_is_busy_with_it(tmp_path, live, clock, context):
    ways = Ways(tmp_path, live, clock, drain_seconds=30)
    ways.busy = True
    ending = contextlib.AsyncExitStack()
    await ending.enter_async_context(ways.door.open())
    closing = asyncio.create_task(ending.aclose())
    await asyncio.sleep(0.1)
    client = Client("/v1/calls/x/result", b"{}")
    assert await ways.send(client, context())
    assert client.sent[0]["status"] == 201
    assert not closing.done()
    ways.busy = False
    await asyncio.wait_for(closing, 10)
    with pytest.raises(Problem, match="PC5020"):
        await ways.send(Client("/v1/calls/x/result"), context())
    ways.ways.close()
