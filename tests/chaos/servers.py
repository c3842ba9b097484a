"""The servers that the fleet shares: Redis and PostgreSQL, reached over the network."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from postgres_servers import PostgresServer

_MEMORY = ("-c", "shared_buffers=32MB", "-c", "dynamic_shared_memory_type=mmap")
"""In the server's own folder: what lies in /dev/shm outlives who is killed."""


class RedisServer:
    """Keeps what it was told, as docs/limits.md asks: or, not ``lasting``, forgets it."""

    def __init__(self, folder: Path, port: int, *, lasting: bool = True) -> None:
        self._folder = folder
        self._port = port
        self._lasting = lasting
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Serve, once it is ready; again after it was killed."""
        program = shutil.which("valkey-server") or shutil.which("redis-server")
        assert program is not None
        said = (self._folder / "redis.log").open("ab")
        kept = "yes" if self._lasting else "no"
        options = ("--bind", "*", "--protected-mode", "no", "--save", "")
        with said:
            self._process = subprocess.Popen(
                [program, "--port", str(self._port), *options, "--appendonly", kept],
                cwd=self._folder,
                stdout=said,
                stderr=said,
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self._port), 1) as asking:
                    asking.sendall(b"PING\r\n")
                    if asking.recv(5) == b"+PONG":
                        return
            except OSError:
                assert time.monotonic() < deadline
            assert self._process.poll() is None, (self._folder / "redis.log").read_text()
            time.sleep(0.01)

    def kill(self) -> None:
        """End it in the middle of what it does."""
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "redis.log").read_text()
        self._process.kill()
        assert self._process.wait(30) == -signal.SIGKILL


class Database(PostgresServer):
    """A server that others reach over the network, with one database of the fleet's."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder, "-c", "max_connections=200", *_MEMORY,
                         "-c", "listen_addresses=*", "-c", "fsync=off", port=port)  # fmt: skip

    def kill(self) -> None:
        """End it with all its processes in the middle of what they do; how it ended is -9."""
        process = self._process
        assert process is not None
        assert process.poll() is None, (self.folder / "server.log").read_text()
        place = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        for pid in (process.pid, *map(int, place.read_text().split())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL

    def prepare(self) -> None:
        """Make its folder, and let in who comes over the wires."""
        self.start()
        self.stop()
        with (self.folder / "data/pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.99.0.0/24 trust\n")
