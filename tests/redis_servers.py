"""A real Redis server of the test's own, on a Unix socket."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[str]:
    """Its URL, for as long as the block lasts."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    assert program is not None
    socket = folder / "redis.sock"
    settings = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    with subprocess.Popen(
        [program, *settings, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + 10
            while not socket.exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield f"unix://{socket}"
        finally:
            process.kill()
