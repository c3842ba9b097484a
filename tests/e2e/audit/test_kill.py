"""A gate that dies at any moment loses no event that it acknowledged."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from portcullis.audit.log import open_log
from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier, verify

WRITER = str(Path(__file__).with_name("writer.py"))
KILLS = 100
AT_ONCE = 4
OPENING = 0.2


def start(root: Path, number: int, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, WRITER, str(root), str(number), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # what readline has not returned stays for communicate to read
    )


def present(root: Path) -> set[str]:
    log = root / "log"
    return {record.event.id for record in records(log, own_verifier(log))}


def kill_soon(writer: subprocess.Popen[bytes]) -> list[bytes]:
    """Kill it while it opens the log, or just after it began to write; what it said."""
    assert writer.stdout is not None
    first = b""
    if random.random() < OPENING:  # noqa: S311 - any moment will do
        time.sleep(random.uniform(0.1, 0.4))  # noqa: S311
    else:
        first = writer.stdout.readline()
        time.sleep(random.uniform(0, 0.02))  # noqa: S311
    writer.kill()
    said = first + writer.communicate()[0]
    return said[: said.rfind(b"\n") + 1].split()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_hundred_kills_lose_no_acknowledged_event(tmp_path: Path) -> None:
    roots = [tmp_path / str(number) for number in range(AT_ONCE)]
    acknowledged: dict[Path, set[str]] = {root: set() for root in roots}
    held: dict[Path, bytes | None] = dict.fromkeys(roots)
    for turn in range(KILLS // AT_ONCE):
        writers = [(root, start(root, 1 + turn * 100_000)) for root in roots]
        for root, writer in writers:
            acknowledged[root] |= {f"event-{int(number)}" for number in kill_soon(writer)}
            log = root / "log"
            open_log(log, root / "keys", "example.org/gate").close()
            missing = acknowledged[root] - present(root)
            assert not missing
            report = verify(log, own_verifier(log), held[root])
            assert report.ok, report.reasons
            held[root] = (log / "checkpoint").read_bytes()
    assert all(len(numbers) > KILLS // AT_ONCE for numbers in acknowledged.values())


def test_a_full_disk_denies_keeps_what_was_acknowledged_and_does_not_hang(tmp_path: Path) -> None:
    writer = start(tmp_path, 1, "file-limit=200000")
    said, errors = writer.communicate(timeout=60)
    assert writer.returncode == 1
    assert b"stopped: ['PC6001']" in errors
    assert b"File too large" in errors
    acknowledged = {f"event-{int(number)}" for number in said.split()}
    assert len(acknowledged) > 50
    open_log(tmp_path / "log", tmp_path / "keys", "example.org/gate").close()
    assert acknowledged <= present(tmp_path)
    assert verify(tmp_path / "log", own_verifier(tmp_path / "log")).ok
