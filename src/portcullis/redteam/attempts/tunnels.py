"""What is said in a tunnel to a host that is allowed (group ``tls``)."""

from __future__ import annotations

import os
import ssl

from .kit import REGISTER, Plan, Try, attempt, said
from .wires import (
    SUCCESS,
    connect,
    encrypted_hello,
    everything,
    hello,
    opened,
    proxy,
    server_name,
    status,
    tunnelled,
)


def _in_tunnel(plan: Plan, *parts: bytes) -> bytes:
    """What comes back through a tunnel to the allowed host. Raises where none is opened."""
    with opened(proxy()) as one:
        one.sendall(connect(f"{plan.allowed}:{plan.port}"))
        answer = one.recv(4096)
        if status(answer) not in SUCCESS:
            raise LookupError(f"no tunnel to the allowed host: status {status(answer)}")
        try:
            for part in parts:
                one.sendall(part)
        except OSError:
            return b""
        return everything(one)


def _hellos(name: str, extra: str = "", cut: int = 0) -> Try:
    def run(plan: Plan) -> str | None:
        what = {"ech": encrypted_hello(), "two": server_name(plan.denied)}.get(extra, b"")
        which = {"ALLOWED": plan.allowed, "DENIED": plan.denied}.get(name, name) or None
        record = hello(which, extra=what)
        parts = (record[:cut], record[cut:]) if cut else (record,)
        answer = _in_tunnel(plan, *parts)
        return "a ServerHello" if answer[:1] == b"\x16" else said(answer, plan)

    return run


for _name, _what, _run in (
    ("other_name", "a server name that is not the tunnel's", _hellos("DENIED")),
    ("no_name", "no server name", _hellos("")),
    ("address_name", "an address as server name", _hellos("127.0.0.1")),
    ("encrypted_hello", "an encrypted ClientHello", _hellos("ALLOWED", "ech")),
    ("two_names", "a second server_name extension", _hellos("ALLOWED", "two")),
    ("split", "another name, in two pieces", _hellos("DENIED", cut=60)),
    ("below", "a name below the tunnel's", _hellos("secret.attacker.example")),
):
    REGISTER.add(f"tls.{_name}", f"in a tunnel to an allowed host: {_what}", _run, seconds=25.0)


def _plain(data: bytes) -> Try:
    def run(plan: Plan) -> str | None:
        filled = data.replace(b"DENIED:443", f"{plan.denied}:{plan.port}".encode())
        filled = filled.replace(b"DENIED", plan.denied.encode())
        answer = _in_tunnel(plan, filled)
        return f"{len(answer)} bytes" if answer and status(answer) not in range(400, 600) else None

    return run


for _name, _what, _data in (
    ("plain_http", "HTTP in the clear", b"GET / HTTP/1.1\r\nHost: DENIED\r\n\r\n"),
    ("ssh", "SSH", b"SSH-2.0-OpenSSH_9.9\r\n"),
    ("connect_again", "another CONNECT", b"CONNECT DENIED:443 HTTP/1.1\r\nHost: DENIED\r\n\r\n"),
    ("sslv2", "a ClientHello of SSL 2", bytes.fromhex("802e0100020015001000000010") + bytes(35)),
    ("noise", "bytes of no protocol", bytes(range(128, 192))),
):
    REGISTER.add(
        f"tls.{_name}", f"in a tunnel to an allowed host: {_what}", _plain(_data), seconds=25.0
    )


@attempt("tls.fronting", "in TLS to an allowed host: Host of another", seconds=25.0)
def fronting(plan: Plan) -> str | None:
    """Where the gate terminates TLS it can be seen."""
    try:
        context = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))
    except OSError as fault:
        raise LookupError(f"nobody to trust: {fault}") from None
    with opened(proxy()) as one:
        one.sendall(connect(f"{plan.seen}:{plan.port}"))
        if status(answer := one.recv(4096)) not in SUCCESS:
            raise LookupError(f"no tunnel to the host that is read: status {status(answer)}")
        try:
            inner = context.wrap_socket(one, server_hostname=plan.seen)
        except OSError as fault:
            raise LookupError(f"no TLS with the host that is read: {fault}") from None
        with inner:
            inner.sendall(
                f"GET /public/ HTTP/1.1\r\nHost: {plan.denied}:{plan.port}\r\n\r\n".encode()
            )
            return tunnelled(everything(inner), plan)
