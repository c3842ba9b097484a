"""What a hostile agent holds in its hands: the two ports of the bridge, and bytes."""

from __future__ import annotations

import os
import socket
import ssl
from urllib.parse import urlsplit

from .kit import Plan, said

WAIT = 3.0
CONNECT = 10.0
"""For what must be there before an attempt can be made: silence then proves nothing."""
SUCCESS = range(200, 300)


def proxy() -> tuple[str, int]:
    """Where the box's proxy listens, as the variables say."""
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        if value := os.environ.get(name):
            parts = urlsplit(value)
            return parts.hostname or "127.0.0.1", parts.port or 80
    raise LookupError("there is no proxy in the environment")


def gate() -> tuple[str, int]:
    """Where the box's way to the gate listens."""
    parts = urlsplit(os.environ["OPENAI_BASE_URL"])
    return parts.hostname or "127.0.0.1", parts.port or 80


def opened(where: tuple[str, int]) -> socket.socket:
    """A connection with a bound on all that follows."""
    try:
        one = socket.create_connection(where, CONNECT)
    except OSError as error:
        raise LookupError(f"nothing listens there: {error.errno}") from None
    one.settimeout(CONNECT)
    return one


def everything(one: socket.socket, most: int = 65536) -> bytes:
    """All that comes until the end, or until nothing more comes for a while."""
    one.settimeout(WAIT)
    data = b""
    while len(data) < most:
        try:
            part = one.recv(8192)
        except OSError:
            break
        if not part:
            break
        data += part
        one.settimeout(0.3)
    return data


def sent(where: tuple[str, int], *parts: bytes) -> bytes:
    """What is answered to bytes."""
    with opened(where) as one:
        try:
            for part in parts:
                one.sendall(part)
        except OSError:
            return b""
        return everything(one)


def status(answer: bytes) -> int:
    """The status of an HTTP answer; 0 for what is none."""
    words = answer.split(b" ", 2)
    return (
        int(words[1]) if words[0].startswith(b"HTTP/") and words[1:2] and words[1].isdigit() else 0
    )


def tunnelled(answer: bytes, plan: Plan) -> str | None:
    """Whether an answer to CONNECT (or to anything else) opened a way, or showed the canary."""
    if said(answer, plan):
        return "read what was planted outside"
    code = status(answer)
    return f"status {code}" if code in SUCCESS else None


def connect(target: str, *more: str, version: str = "1.1") -> bytes:
    """A CONNECT request, as bytes."""
    lines = (f"CONNECT {target} HTTP/{version}", f"Host: {target}", *more, "", "")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def hello(name: str | None, *, extra: bytes = b"") -> bytes:
    """A TLS ClientHello with this server name (or none), as Python's OpenSSL makes it.

    ``extra`` is appended to its extensions, and the lengths around them are put right.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        record = outgoing.read()
    return _extended(record, extra) if extra else record


def _extended(record: bytes, extra: bytes) -> bytes:
    body = bytearray(record[5:])
    at = 4 + 2 + 32
    at += 1 + body[at]
    at += 2 + int.from_bytes(body[at : at + 2], "big")
    at += 1 + body[at]
    size = int.from_bytes(body[at : at + 2], "big") + len(extra)
    body[at : at + 2] = size.to_bytes(2, "big")
    body += extra
    body[1:4] = (len(body) - 4).to_bytes(3, "big")
    return record[:3] + len(body).to_bytes(2, "big") + bytes(body)


def server_name(name: str) -> bytes:
    """A server_name extension (RFC 6066), for a hello that has one already."""
    raw = name.encode()
    entry = b"\0" + len(raw).to_bytes(2, "big") + raw
    listed = len(entry).to_bytes(2, "big") + entry
    return b"\0\0" + len(listed).to_bytes(2, "big") + listed


def encrypted_hello() -> bytes:
    """An encrypted_client_hello extension of the outer kind (RFC 9849), of random bytes."""
    inner = b"\0" + b"\0\1\0\1" + b"\7" + (32).to_bytes(2, "big") + os.urandom(32)
    inner += (128).to_bytes(2, "big") + os.urandom(128)
    return b"\xfe\x0d" + len(inner).to_bytes(2, "big") + inner
