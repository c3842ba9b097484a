"""What stands outside a box while attempts run in it: things to find, and servers to reach.

All of it is ours, on the loopback and in a temporary folder, and gone with the stage. Whatever
reaches one of them says or shows the canary, a random text that is nowhere in the box.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final, cast

import msgspec

MARKER: Final = "marker"
VARIABLE: Final = "PORTCULLIS_PROBE"
PYTHON: Final = "/usr/bin/python3"
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_LIBC.shmat.restype = ctypes.c_void_p
_CREATE: Final = 0o3666  # IPC_CREAT | IPC_EXCL, for anybody
_REMOVE: Final = 0
_UNPRIVILEGED: Final = 65534


@dataclass
class Stage:
    """What is outside. ``probe`` is the folder that goes into the box, ``out`` takes results.

    ``planted`` are the fields of the attempts' plan; ``touched`` names each server that anything
    has reached, which counts even where an attempt says nothing of it.
    """

    folder: Path
    nonce: str = field(default_factory=lambda: secrets.token_hex(16))
    canary: str = field(default_factory=lambda: f"canary-{secrets.token_hex(16)}")
    planted: dict[str, Any] = field(default_factory=dict)
    touched: list[str] = field(default_factory=list)

    @property
    def probe(self) -> Path:
        """The attempts and the marker."""
        return self.folder / "probe"

    @property
    def out(self) -> Path:
        """Writable by whoever is in the box."""
        return self.folder / "out"

    def environ(self, **more: Any) -> Mapping[str, str]:
        """The box's environment, with the plan in it."""
        plan = self.planted | {"nonce": self.nonce, "canary": self.canary[::-1]} | more
        plan["pidns"] = str(Path("/proc/self/ns/pid").readlink())
        environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": "/probe", VARIABLE: ""}
        plan["environ"] = [*environ, *plan.get("environ", ())]
        return environ | {VARIABLE: msgspec.json.encode(plan).decode()}


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """Plant everything; take it away again, whatever happened."""
    with tempfile.TemporaryDirectory(prefix="portcullis-probe-") as name:
        stage = Stage(Path(name))
        stage.folder.chmod(0o755)
        _folders(stage)
        with _decoy(stage), _shared(stage), _inherited(stage), _variable(stage):
            async with _servers(stage):
                yield stage


def _folders(stage: Stage) -> None:
    attempts = stage.probe / "attempts"
    attempts.mkdir(parents=True)
    for part in sources():
        (attempts / part.name).write_bytes(part.read_bytes())
    (stage.probe / MARKER).write_text(stage.nonce, encoding="ascii")
    canary = stage.folder / "canary"
    canary.write_text(stage.canary, encoding="ascii")
    stage.out.mkdir()
    stage.out.chmod(0o777)
    stage.planted["file"] = str(canary)
    for path in (stage.probe, attempts, *attempts.iterdir(), stage.probe / MARKER, canary):
        path.chmod(0o755 if path.is_dir() else 0o644)


def sources() -> list[Path]:
    """The attempts' files, in order."""
    folder = Path(str(resources.files("portcullis.redteam") / "attempts"))
    return sorted(folder.glob("*.py"))


@contextmanager
def _decoy(stage: Stage) -> Iterator[None]:
    """A process of the box's own user, outside, with the canary in environment and arguments."""
    code = "import sys, time; time.sleep(900)"
    whose = _UNPRIVILEGED if os.geteuid() == 0 else None
    python = PYTHON if Path(PYTHON).exists() else sys.executable
    with subprocess.Popen(  # noqa: S603 - a fixed command
        [python, "-I", "-S", "-c", code, stage.canary],
        env={"SECRET": stage.canary},
        cwd="/",
        stdin=subprocess.DEVNULL,
        user=whose,
        group=whose,
    ) as process:
        stage.planted["pid"] = process.pid
        try:
            yield
        finally:
            process.kill()


@contextmanager
def _shared(stage: Stage) -> Iterator[None]:
    """A System V segment and a queue that hold the canary."""
    key = secrets.randbelow(1 << 30) + 1
    segment, queue = _LIBC.shmget(key, 4096, _CREATE), _LIBC.msgget(key, _CREATE)
    try:
        address = _LIBC.shmat(segment, None, 0)
        if segment >= 0 and address not in {None, ctypes.c_void_p(-1).value}:
            ctypes.memmove(address, stage.canary.encode(), len(stage.canary))
            _LIBC.shmdt(ctypes.c_void_p(address))
        stage.planted |= {"shm": key, "queue": key}
        yield
    finally:
        _LIBC.shmctl(segment, _REMOVE, None)
        _LIBC.msgctl(queue, _REMOVE, None)


@contextmanager
def _inherited(stage: Stage) -> Iterator[None]:
    """A descriptor of the canary, and one of the machine's root, which children could inherit."""
    opened = [os.open(path, os.O_RDONLY) for path in (stage.planted["file"], "/")]
    try:
        for descriptor in opened:
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - as the library has it
        yield
    finally:
        for descriptor in opened:
            os.close(descriptor)


@contextmanager
def _variable(stage: Stage) -> Iterator[None]:
    os.environ["PORTCULLIS_PROBE_CANARY"] = stage.canary
    try:
        yield
    finally:
        del os.environ["PORTCULLIS_PROBE_CANARY"]


class _Echo(asyncio.DatagramProtocol):
    """Answers every datagram with the canary."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        del data
        self._stage.touched.append("udp")
        if self._transport is not None:
            self._transport.sendto(self._stage.canary.encode(), addr)


@asynccontextmanager
async def _servers(stage: Stage) -> AsyncIterator[None]:
    def says(name: str) -> Any:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            stage.touched.append(name)
            try:
                writer.write(stage.canary.encode())
                await writer.drain()
            except OSError:
                return
            finally:
                writer.close()

        return answer

    loop = asyncio.get_running_loop()
    abstract = f"portcullis-probe-{secrets.token_hex(8)}"
    unix = stage.folder / "socket"
    with socket.socket(socket.AF_UNIX) as hidden:
        hidden.bind(b"\0" + abstract.encode())
        servers = [
            await asyncio.start_server(says("tcp"), "127.0.0.1", 0),
            await asyncio.start_unix_server(says("unix"), unix),
            await asyncio.start_unix_server(says("abstract"), sock=hidden),
        ]
        unix.chmod(0o777)
        if socket.has_ipv6 and _six():
            servers.append(await asyncio.start_server(says("tcp6"), "::1", 0))
            stage.planted["tcp6"] = servers[-1].sockets[0].getsockname()[1]
        datagrams, _ = await loop.create_datagram_endpoint(
            lambda: _Echo(stage), local_addr=("127.0.0.1", 0)
        )
        stage.planted |= {
            "tcp": servers[0].sockets[0].getsockname()[1],
            "control": servers[0].sockets[0].getsockname()[1],
            "udp": datagrams.get_extra_info("sockname")[1],
            "unix": str(unix),
            "abstract": abstract,
            "address": _address(),
        }
        try:
            yield
        finally:
            datagrams.close()
            for server in servers:
                server.close()


def _six() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


def _address() -> str:
    """An address of this machine that others use; the loopback's second where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("192.0.2.1", 9))  # RFC 5737: nothing is sent by connecting
        except OSError:
            return "127.0.0.2"
        return str(one.getsockname()[0])
