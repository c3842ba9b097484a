"""What is measured: child processes on free loopback ports, all in front of one upstream stub."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO, Final

from portcullis.bench import gate
from portcullis.bench.stub import MODEL
from portcullis.core.errors import Problem

READY_SECONDS: Final = 60.0
_LIBC: Final = ctypes.CDLL(None)
_PDEATHSIG: Final = 1  # PR_SET_PDEATHSIG, prctl(2)
_PATH: Final = "/v1/chat/completions"
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Subject:
    """One thing to send calls to. ``session`` is its process session (see ``cpu``)."""

    name: str
    port: int
    path: str
    token: str
    session: int


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of call: its request's body and what a complete answer ends with."""

    name: str
    body: bytes
    tail: bytes


def _body(extra: bytes) -> bytes:
    prose = b"Where is my order? It should have come on Monday. " * 16
    return (
        b'{"model":"%s","messages":[{"role":"system","content":"You help customers."},'
        b'{"role":"user","content":"%s"}],"max_tokens":200%s}' % (MODEL.encode(), prose, extra)
    )


JSON: Final = Shape("json", _body(b""), b"}")
SSE: Final = Shape(
    "sse", _body(b',"stream":true,"stream_options":{"include_usage":true}'), b"data: [DONE]\n\n"
)


@contextlib.contextmanager
def running(folder: Path, *, beside: str | None) -> Iterator[tuple[Subject, ...]]:
    """Start the stub, the bare proxy, ``beside`` and the gate; end them with the block.

    The subjects are called direct, bare, beside (if given) and gate. ``beside`` is a command line
    in which ``{port}`` and ``{upstream}`` (a base URL) are filled in. ``folder`` takes the state
    of the gate and what the children print. Raises Problem PC7007 when one does not answer.
    """
    with contextlib.ExitStack() as stack:
        stub, bare, third, control, other = free_ports(5)
        upstream = f"http://127.0.0.1:{stub}"

        def start(name: str, port: int, argv: Sequence[str], path: str, token: str) -> Subject:
            output = stack.enter_context((folder / f"{name}.output").open("w+b"))
            child = spawn(argv, output)
            stack.callback(end, child)
            subject = Subject(name, port, path, token, child.pid)
            _await(subject, child, output)
            return subject

        python = (sys.executable, "-m")
        found = [
            start("direct", stub, (*python, "portcullis.bench.stub", str(stub)), _PATH, "none"),
            start(
                "bare",
                bare,
                (*python, "portcullis.bench.passthrough", str(bare), upstream),
                _PATH,
                "none",
            ),
        ]
        if beside is not None:
            line = beside.replace("{port}", str(other)).replace("{upstream}", upstream)
            found.append(start("beside", other, shlex.split(line), _PATH, "none"))
        config = gate.configuration(folder, gate=third, control=control, upstream=upstream)
        token = gate.agent_token(config)
        found.append(start("gate", third, gate.command(config), f"/openai{_PATH}", token))
        yield tuple(found)


_PORTS: Final = range(10_000, 16_000)
"""Below those that systems give to connections, which could take one before it is listened on."""


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        for port in random.sample(_PORTS, len(_PORTS)):
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
            if len(found) == count:
                break
    return found


def ends_with_us() -> None:
    """For a child, before it begins: it is told to end when its parent does, however that ends."""
    _LIBC.prctl(_PDEATHSIG, signal.SIGTERM)


def spawn(argv: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a child in a process session of its own; Problem PC7007 when that fails.

    It ends with the thread that calls this, at the latest.
    """
    try:
        return subprocess.Popen(  # noqa: S603 - our own children and the user's own command
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=ends_with_us,  # noqa: PLW1509 - it only calls prctl(2)
            env=gate.environment(),
        )
    except OSError as error:
        raise Problem("PC7007", f"cannot start {argv[0]}: {error.strerror}") from None


def end(child: subprocess.Popen[bytes]) -> None:
    """End a child and all that it started in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(timeout=15)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def ready(name: str, child: subprocess.Popen[bytes], port: int, path: str) -> None:
    """Wait until a GET is answered with 200. Problem PC7007 when the child does not."""
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and child.poll() is None:
        link = HTTPConnection("127.0.0.1", port, timeout=10)
        with contextlib.suppress(OSError, HTTPException):
            link.request("GET", path)
            if link.getresponse().status == _OK:
                link.close()
                return
        link.close()
        time.sleep(0.05)
    raise Problem("PC7007", f"{name}: no answer")


def _await(subject: Subject, child: subprocess.Popen[bytes], output: IO[bytes]) -> None:
    """Wait until a call is answered with 200."""
    until = time.monotonic() + READY_SECONDS
    said = "no answer"
    while time.monotonic() < until and child.poll() is None:
        link = HTTPConnection("127.0.0.1", subject.port, timeout=10)
        try:
            headers = {
                "Authorization": f"Bearer {subject.token}",
                "Content-Type": "application/json",
            }
            link.request("POST", subject.path, JSON.body, headers)
            status = link.getresponse().status
            if status == _OK:
                return
            said = f"HTTP {status}"
        except (OSError, HTTPException):
            said = "no answer"
        finally:
            link.close()
        time.sleep(0.1)
    output.seek(0)
    raise Problem(
        "PC7007", f"{subject.name}: {said}; its last line: {gate.last_line(output.read())}"
    )
