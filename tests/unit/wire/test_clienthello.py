"""If these fail, a tunnel is let through for one host and leads to another."""

import ssl

import pytest

from portcullis.core.errors import Problem
from portcullis.wire.clienthello import MAX_BYTES, ClientHello


def begun(name="api.example.com"):
    """The first bytes of a real client."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(into, out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


def extended(hello, *more):
    """The same with further extensions."""
    body = bytearray(hello[9:])
    at = 34
    at += 1 + body[at]
    at += 2 + int.from_bytes(body[at : at + 2])
    at += 1 + body[at]
    added = b"".join(k.to_bytes(2) + len(v).to_bytes(2) + v for k, v in more)
    body[at : at + 2] = (int.from_bytes(body[at : at + 2]) + len(added)).to_bytes(2)
    return record(b"\x01" + len(body + added).to_bytes(3) + bytes(body + added))


def record(message, kind=22):
    return bytes([kind]) + b"\x03\x01" + len(message).to_bytes(2) + message


def read(data):
    return ClientHello().feed(data)


def test_the_name_is_found_however_the_bytes_are_cut():
    hello = begun("API.Example.com")
    for size in (1, 7, 100, 5000):
        collected, found = ClientHello(), None
        for start in range(0, len(hello), size):
            assert found is None
            found = collected.feed(hello[start : start + size])
        assert found is not None
        assert (found.name, found.hidden) == ("api.example.com", False)
        assert collected.data == hello


def test_the_name_is_found_in_a_message_that_is_cut_into_records():
    hello = begun()
    message = hello[5:]
    pieces = [message[start : start + 3] for start in range(0, len(message), 3)]
    found = read(b"".join(record(piece) for piece in pieces))
    assert found is not None
    assert found.name == "api.example.com"


def test_what_follows_in_later_records_is_left_alone():
    hello = begun()
    collected = ClientHello()
    assert collected.feed(hello + record(b"early", kind=23)).name == "api.example.com"
    assert collected.data.endswith(b"early")


@pytest.mark.parametrize("kind", [0xFE0D, 0xFE08, 0xFFCE])
def test_a_hidden_name_is_seen(kind):
    assert read(extended(begun(), (kind, b"\0\0"))).hidden


def test_a_client_without_a_name_has_none():
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(into, out).do_handshake()
    assert read(out.read()).name == ""


NAME = b"\x00\x08\x00\x00\x05a.com"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x02\x00\x00\x01a",
        record(b"", kind=22),
        b"\x16\x03\x01\xff\xff" + bytes(10),
        record(b"\x02\x00\x00\x01a"),
        record(b"\x01\x00\x00\x01a"),
        record(b"\x01" + (MAX_BYTES + 1).to_bytes(3)),
        record(begun()[5:] + b"more"),
        extended(begun(), (0, NAME)),
        extended(begun(), (43, b""), (43, b"")),
        record(bytes([1, 0, 0, 1]) + b"a") + b"x",
    ],
    ids=lambda data: f"{len(data)}-{data[:2].hex()}",
)
def test_what_is_no_client_hello_is_refused(data):
    with pytest.raises(Problem) as refused:
        read(data)
    assert refused.value.code == "PC5055"


def test_a_client_hello_without_end_is_refused():
    collected = ClientHello()
    piece = record(b"\x01\x00\xff\xff" + bytes(2**13))
    for _ in range(7):
        collected.feed(piece)
    with pytest.raises(Problem, match="too long"):
        collected.feed(piece)
