"""If these fail, a receiver cannot tell our deliveries from another's, or one is lost unseen."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiohttp import web
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from portcullis.audit.export.stream import FileTarget, SyslogTarget
from portcullis.audit.export.target import Batch, Refused, Rejected, Unavailable
from portcullis.audit.export.web import WebTarget, bearer, signed
from portcullis.core.errors import Problem
from receivers import http_receiver, server_tls, syslog_receiver

pytestmark = pytest.mark.anyio

BATCH = Batch("siem-0-1-abcd", b'{"a":1}\n{"b":2}\n', "application/x-ndjson")


class Clock:
    def now(self) -> float:
        return 1893456000.5

    def monotonic(self) -> float:
        return 0.0


def trusting(authority: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority)


def standard_signature(key: bytes, headers: dict[str, str], body: bytes) -> str:
    """As Standard Webhooks has it."""
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = hmac.new(key, text, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(mac).decode()}"


async def test_a_webhook_is_signed_over_id_time_and_body(tmp_path: Path) -> None:
    tls, authority = server_tls(tmp_path)
    raw = secrets.token_bytes(24)
    for secret, key in (
        ("plain-" + raw.hex(), ("plain-" + raw.hex()).encode()),
        ("whsec_" + base64.b64encode(raw).decode(), raw),
    ):
        async with http_receiver(tls) as receiver:
            target = WebTarget(
                receiver.url,
                headers=signed(lambda secret=secret: secret, Clock()),
                tls=trusting(authority),
            )
            await target.send(BATCH)
            await target.close()
        ((headers, body),) = receiver.taken
        assert body == BATCH.body
        assert headers["content-type"] == "application/x-ndjson"
        assert (headers["webhook-id"], headers["webhook-timestamp"]) == (BATCH.id, "1893456000")
        assert headers["webhook-signature"] == standard_signature(key, headers, body)


async def test_a_receiver_with_another_certificate_gets_nothing(tmp_path: Path) -> None:
    tls, _ = server_tls(tmp_path)
    async with http_receiver(tls) as receiver, syslog_receiver(tls) as syslog:
        web_target = WebTarget(receiver.url, headers=bearer(None), tls=ssl.create_default_context())
        with pytest.raises(Unavailable, match="not trusted"):
            await web_target.send(BATCH)
        await web_target.close()
        target = SyslogTarget("127.0.0.1", syslog.port, tls=ssl.create_default_context())
        with pytest.raises(Unavailable, match="not trusted"):
            await target.send(BATCH)
    assert receiver.taken == []
    assert syslog.messages == []


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (204, None), (400, Refused), (413, Refused), (422, Refused),
        (401, Unavailable), (403, Unavailable), (404, Unavailable), (408, Unavailable),
        (429, Unavailable), (500, Unavailable), (503, Unavailable), (301, Unavailable),
    ],
)  # fmt: skip
async def test_an_answer_is_about_the_events_or_about_us(status: int, expected) -> None:
    async with http_receiver() as receiver:
        receiver.judge = lambda *_: web.Response(
            status=status, headers={"retry-after": "9", "location": "/in"}
        )
        target = WebTarget(receiver.url, headers=bearer(None), tls=None)
        if expected is None:
            await target.send(BATCH)
        else:
            with pytest.raises(expected, match=str(status)) as caught:
                await target.send(BATCH)
            assert getattr(caught.value, "after", 9) == 9
        await target.close()
    assert receiver.taken == []  # and no redirect was followed


async def test_a_peer_that_does_not_answer_holds_nothing_up(tmp_path: Path) -> None:
    async with http_receiver() as receiver:
        gate = asyncio.Event()

        async def hang(request: web.Request) -> web.Response:
            await gate.wait()
            return web.Response()

        receiver.answer = hang
        target = WebTarget(receiver.url, headers=bearer(None), tls=None, seconds=0.2)
        silent = socket.create_server(("127.0.0.1", 0))
        with silent:
            port = silent.getsockname()[1]
            started = time.monotonic()
            for one in (
                WebTarget(f"http://127.0.0.1:{port}/", headers=bearer(None), tls=None, seconds=0.2),
                SyslogTarget("127.0.0.1", port, tls=None, seconds=0.2),
                SyslogTarget("127.0.0.1", port, tls=ssl.create_default_context(), seconds=0.2),
            ):
                with pytest.raises(Unavailable, match="in time"):
                    await one.send(BATCH)
                await one.close()
        gate.set()
        await target.close()
    assert time.monotonic() - started < 3


async def test_a_missing_secret_is_waited_for_and_not_sent_without() -> None:
    def missing() -> str:
        raise Problem("PC5007", "the environment variable X is not set")

    async with http_receiver() as receiver:
        for headers in (signed(missing, Clock()), bearer(missing)):
            target = WebTarget(receiver.url, headers=headers, tls=None)
            with pytest.raises(Unavailable, match="X is not set"):
                await target.send(BATCH)
            await target.close()
    assert receiver.taken == []


async def test_what_a_collector_rejects_is_not_taken_for_delivered() -> None:
    answer = ExportLogsServiceResponse()
    answer.partial_success.rejected_log_records = 2
    async with http_receiver() as receiver:
        target = WebTarget(receiver.url, headers=bearer(lambda: "t0k"), tls=None, partial=True)
        await target.send(BATCH)
        assert receiver.taken[0][0]["authorization"] == "Bearer t0k"
        receiver.judge = lambda *_: web.Response(body=answer.SerializeToString())
        with pytest.raises(Rejected, match="2 records"):
            await target.send(BATCH)
        receiver.judge = lambda *_: web.Response(body=b"<html>hello</html>")
        with pytest.raises(Unavailable, match="not OTLP"):
            await target.send(BATCH)
        await target.close()


async def test_syslog_over_tls_arrives_whole(tmp_path: Path) -> None:
    tls, authority = server_tls(tmp_path)
    batch = Batch("x", b"3 abc" + b"70000 " + b"y" * 70000, "application/octet-stream")
    for server, client in ((tls, trusting(authority)), (None, None)):
        async with syslog_receiver(server) as receiver:
            target = SyslogTarget("127.0.0.1", receiver.port, tls=client, seconds=5)
            await target.send(batch)
            assert receiver.messages == [b"abc", b"y" * 70000]
    with pytest.raises(Unavailable, match="not reached"):
        await target.send(batch)


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("size", [40_000, 4_000_000])
async def test_a_receiver_that_dies_before_it_has_read_all_gets_it_again(
    tmp_path: Path, secure, size: int
) -> None:
    tls, authority = server_tls(tmp_path)

    def die(server: socket.socket) -> None:
        connection = server.accept()[0]
        if secure:
            connection = tls.wrap_socket(connection, server_side=True)
        connection.recv(1)
        connection.close()  # with the rest unread

    with socket.create_server(("127.0.0.1", 0)) as server:
        dying = asyncio.create_task(asyncio.to_thread(die, server))
        client = trusting(authority) if secure else None
        target = SyslogTarget("127.0.0.1", server.getsockname()[1], tls=client, seconds=5)
        with pytest.raises(Unavailable):
            await target.send(Batch("x", b"y" * size, "text/plain"))
        await dying


async def test_a_file_is_rotated_by_size_and_a_torn_line_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b'{"old":1}\n{"torn')
    target = FileTarget(path, rotate_bytes=40, keep=2)
    for number in range(6):
        await target.send(Batch("x", b'{"n":%d}\n' % number * 2, "text/plain"))
    found = [tmp_path / f"out.jsonl{suffix}" for suffix in (".2", ".1", "")]
    assert not (tmp_path / "out.jsonl.3").exists()
    lines = [json.loads(line) for p in found for line in p.read_bytes().splitlines()]
    assert [one["n"] for one in lines if "n" in one][-8:] == [2, 2, 3, 3, 4, 4, 5, 5]
    assert all(p.stat().st_size <= 40 for p in found)
    assert path.stat().st_mode & 0o077 == 0


async def test_a_file_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")
    (tmp_path / "out").symlink_to(tmp_path / "other")
    with pytest.raises(Unavailable, match="not written"):
        await FileTarget(tmp_path / "out", rotate_bytes=100, keep=1).send(BATCH)
    assert (tmp_path / "other").read_text() == ""


async def test_an_answer_that_comes_in_pieces_is_read_whole() -> None:
    said = ExportLogsServiceResponse()
    said.partial_success.rejected_log_records = 1
    said.partial_success.error_message = "too old" * 10
    body, asked = said.SerializeToString(), bytearray()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.extend(await reader.readuntil(b"\r\n\r\n"))
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
        for piece in (head, body[:9], body[9:]):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/v1/logs"
        target = WebTarget(url, headers=bearer(None), tls=None, partial=True)
        with pytest.raises(Rejected, match="rejected 1"):
            await target.send(BATCH)
        await target.close()
    assert b"accept-encoding: identity" in bytes(asked).lower()  # none that we would not read


async def test_an_answer_without_end_is_not_read_without_end() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"\x08\x01" * 8192)
            await writer.drain()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/v1/logs"
        target = WebTarget(url, headers=bearer(None), tls=None, partial=True)
        with pytest.raises(Unavailable):
            await target.send(BATCH)
        await target.close()


def test_lines_of_the_gate_and_of_a_second_log_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writers = [FileTarget(path, rotate_bytes=400, keep=1000) for _ in range(4)]

    def write(writer: FileTarget, name: int) -> None:
        for number in range(20):
            writer._append(f"{name}-{number}\n".encode() * 5)

    with ThreadPoolExecutor() as threads:
        done = [threads.submit(write, writer, name) for name, writer in enumerate(writers)]
    assert [one.result() for one in done] == [None] * 4
    lines = [line for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
    wanted = {f"{name}-{number}" for name in range(4) for number in range(20)}
    assert sorted(lines) == sorted([*wanted] * 5)
