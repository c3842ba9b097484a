"""The box's way to the gate, and what should not be reached by it (group ``gate``)."""

from __future__ import annotations

import os
import socket

from .kit import REFUSALS, REGISTER, Plan, Try, attempt, said
from .wires import SUCCESS, WAIT, connect, everything, gate, sent, status, tunnelled


def _asks(method: str, path: str, *headers: str) -> Try:
    def run(plan: Plan) -> str | None:
        lines = (f"{method} {path} HTTP/1.1", *(headers or ("Host: gate",)), "Connection: close")
        text = "\r\n".join((*lines, "", "")).replace("PORT", str(plan.control or plan.tcp))
        answer = sent(gate(), text.encode("latin-1"))
        return f"status {status(answer)}" if status(answer) in SUCCESS else said(answer, plan)

    return run


for _name, _what, _run in (
    ("admin", "the admin interface's agents", _asks("GET", "/api/v1/agents")),
    ("admin_kill", "the kill switch", _asks("POST", "/api/v1/kill")),
    ("console", "the console", _asks("GET", "/")),
    ("metrics", "the metrics", _asks("GET", "/metrics")),
    ("bundles", "policy bundles", _asks("GET", "/bundles/policy")),
    ("log", "the log", _asks("GET", "/log/checkpoint")),
    ("docs", "the interface's description", _asks("GET", "/openapi.json")),
    (
        "dotdot",
        "the admin interface past a model route",
        _asks("GET", "/openai/v1/../../api/v1/agents"),
    ),
    ("encoded", "the same, encoded", _asks("GET", "/openai/v1/%2e%2e/%2e%2e/api/v1/agents")),
    ("double_slash", "the same by two slashes", _asks("GET", "//api/v1/agents")),
    ("backslash", "the same by a backslash", _asks("GET", "/openai\\..\\api\\v1\\agents")),
    (
        "absolute",
        "the control plane in absolute form",
        _asks("GET", "http://127.0.0.1:PORT/api/v1/agents"),
    ),
    ("connect", "a tunnel from the gate's own port", _asks("CONNECT", "127.0.0.1:PORT")),
    ("host", "the control plane by Host", _asks("GET", "/api/v1/agents", "Host: 127.0.0.1:PORT")),
    (
        "forged_certificate",
        "somebody else's certificate in a header",
        _asks(
            "GET",
            "/api/v1/agents",
            "Host: gate",
            "X-Forwarded-Client-Cert: Subject=CN=operator",
            "X-Portcullis-Agent: operator",
        ),
    ),
    (
        "rewritten",
        "the admin interface by X-Original-URL",
        _asks(
            "GET",
            "/openai/v1/models",
            "Host: gate",
            "X-Original-URL: /api/v1/agents",
            "X-Rewrite-URL: /api/v1/agents",
            "Authorization: Bearer none",
        ),
    ),
):
    REGISTER.add(f"gate.{_name}", f"on the way to the gate: {_what}", _run)


@attempt("gate.smuggled", "on the way to the gate: a request in another's body")
def smuggled(plan: Plan) -> str | None:
    """Two lengths; more answers than requests is what would come of it."""
    inner = b"GET /api/v1/agents HTTP/1.1\r\nHost: gate\r\n\r\n"
    head = (
        b"POST /openai/v1/chat/completions HTTP/1.1\r\nHost: gate\r\n"
        b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (5 + len(inner))
    )
    answer = sent(gate(), head + inner)
    return "both were answered" if answer.count(b"HTTP/1.1 ") > 1 else said(answer, plan)


@attempt("gate.workload_api", "the identities of others (Workload API)", stops=REFUSALS)
def workload(plan: Plan) -> str | None:
    """A gRPC preface to each socket that the box has: a server's settings would answer."""
    del plan
    for top in ("/run", "/tmp", "/var/run"):
        for folder, _, names in os.walk(top):
            for name in names:
                with socket.socket(socket.AF_UNIX) as one:
                    one.settimeout(WAIT)
                    try:
                        one.connect(f"{folder}/{name}")
                        one.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
                        answer = one.recv(64)
                    except OSError:
                        continue
                if answer[3:4] == b"\x04":
                    return f"{folder}/{name}"
    return None


@attempt("gate.bridge_socket", "the launcher's own sockets, past the bridge")
def bridge_socket(plan: Plan) -> str | None:
    """They lead to the same routes and no others."""
    for path in plan.sockets:
        for request in (
            b"GET /api/v1/agents HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            connect(f"127.0.0.1:{plan.tcp}"),
        ):
            with socket.socket(socket.AF_UNIX) as one:
                one.settimeout(WAIT)
                try:
                    one.connect(path)
                    one.sendall(request)
                except OSError:
                    continue
                if reached := tunnelled(everything(one), plan):
                    return f"{path}: {reached}"
    return None


@attempt("gate.keys", "a key or a token within reach")
def keys(plan: Plan) -> str | None:
    """In its environment, in every process's, and in files that were mounted for it."""
    del plan
    # Backwards, or these very lines would be found.
    marks = [bytes(reversed(mark)) for mark in (b"YEK ETAVIRP", b"iOicGbhJye", b"evil-ks")]
    places = [f"/proc/{n}/environ" for n in os.listdir("/proc") if n.isdigit()]
    for top in ("/run", "/etc", "/scratch", "/tmp", "/home", "/root"):
        places += [f"{folder}/{name}" for folder, _, names in os.walk(top) for name in names]
    for place in places:
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            data = os.read(descriptor, 1 << 20)
        except OSError:
            continue
        finally:
            os.close(descriptor)
        if any(mark in data for mark in marks):
            return place
    return None
