"""Real Redis or Valkey servers of the test's own: on a Unix socket, or on ports of loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from portcullis.core.ports import Clock
from portcullis.store.shared_server import Server
from ports import free_port

PATIENCE = 30.0
"""Seconds for a server to begin or end; nothing is measured by it."""


def program() -> str:
    """The server's program: `REDIS_SERVER` where that is set, else Redis's or Valkey's."""
    found = os.environ.get("REDIS_SERVER") or shutil.which("redis-server")
    found = found or shutil.which("valkey-server")
    assert found is not None
    return found


@contextlib.contextmanager
def running(*arguments: str, there: Callable[[], bool]) -> Iterator[subprocess.Popen[bytes]]:
    """A server's process, once it is there, for as long as the block lasts."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen([program(), *arguments], stdout=quiet, stderr=quiet) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while not there():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield process
        finally:
            process.kill()
            process.wait(PATIENCE)


@contextlib.contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[str]:
    """Its URL, for as long as the block lasts."""
    path = folder / "redis.sock"
    settings = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
    with running(*settings, *options, there=lambda: connects(path)):
        yield f"unix://{path}"


@contextlib.contextmanager
def own_server() -> Iterator[Server]:
    """A new server, and what gateways share in it."""
    with (
        tempfile.TemporaryDirectory(prefix="pc-") as folder,  # a socket's path is short
        redis_server(Path(folder)) as url,
        open_server(url) as server,
    ):
        yield server


@contextlib.contextmanager
def open_server(
    url: str, name: str = "shop.test", seconds: float = 5.0, clock: Clock | None = None
) -> Iterator[Server]:
    """What gateways share at a server, patient with a busy machine."""
    server = Server(url, name, clock=clock, seconds=seconds)
    try:
        yield server
    finally:
        server.close()


@dataclass
class Node:
    """One server on a port of loopback, which can be ended and started again.

    With a folder of ``certificates`` (``redis_deployments.certified``) it speaks TLS alone.
    """

    folder: Path
    options: Sequence[str] = ()
    port: int = 0
    certificates: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def start(self) -> None:
        """Begin, or begin again."""
        self.port = self.port or free_port()
        self.folder.mkdir(exist_ok=True)
        plain = "0" if self.certificates else str(self.port)
        settings = ["--port", plain, "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        if self.certificates:
            settings += ["--tls-port", str(self.port), *tls_options(self.certificates)]
        server = running(*settings, *self.options, there=lambda: connects(self.port))
        self.process = self._stack.enter_context(server)

    def end(self) -> None:
        """As SIGKILL ends it."""
        self._stack.close()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"


@contextlib.contextmanager
def nodes(*made: Node) -> Iterator[None]:
    """Have these run until the block ends."""
    try:
        for node in made:
            node.start()
        yield
    finally:
        for node in made:
            node.end()


def connects(where: Path | int) -> bool:
    """Whether something listens there."""
    kind = socket.AF_UNIX if isinstance(where, Path) else socket.AF_INET
    with socket.socket(kind) as trial:
        trial.settimeout(1.0)
        try:
            trial.connect(str(where) if isinstance(where, Path) else ("127.0.0.1", where))
        except OSError:
            return False
    return True


def tls_options(folder: Path) -> list[str]:
    """Of a server with the certificates in a folder, which takes those of their authority."""
    return [
        *(
            "--tls-cert-file",
            str(folder / "server.pem"),
            "--tls-key-file",
            str(folder / "server.key"),
        ),
        *("--tls-ca-cert-file", str(folder / "ca.pem"), "--tls-auth-clients", "yes"),
    ]


def told(node: Node, *command: str) -> str:
    """What a server answers to a command."""
    client = shutil.which("redis-cli") or "valkey-cli"
    asked = [client, "-h", "127.0.0.1", "-p", str(node.port)]
    if node.certificates:
        folder = node.certificates
        asked += ["--tls", "--cacert", str(folder / "ca.pem")]
        asked += ["--cert", str(folder / "client.pem"), "--key", str(folder / "client.key")]
    asked += command
    done = subprocess.run(asked, capture_output=True, timeout=PATIENCE, check=True)
    return done.stdout.decode(errors="replace").strip()
