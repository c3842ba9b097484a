"""A gate that dies at any moment loses no event that it acknowledged."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from portcullis.audit.log import open_log
from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier, verify
from sealers import sealer_at

WRITER = str(Path(__file__).with_name("writer.py"))
KILLS = 100
LOGS = 10
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
    if random.random() < OPENING:
        time.sleep(random.uniform(0.1, 0.4))
    else:
        first = writer.stdout.readline()
        time.sleep(random.uniform(0, 0.02))
    writer.kill()
    rest, errors = writer.communicate()
    assert writer.returncode == -signal.SIGKILL, errors
    said = first + rest
    return said[: said.rfind(b"\n") + 1].split()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("log_number", range(LOGS))
def test_ten_kills_lose_no_acknowledged_event(tmp_path: Path, log_number: int) -> None:
    acknowledged: set[str] = set()
    held: bytes | None = None
    log = tmp_path / "log"
    for turn in range(KILLS // LOGS):
        numbers = kill_soon(start(tmp_path, 1 + turn * 100_000))
        acknowledged |= {f"event-{int(number)}" for number in numbers}
        open_log(log, tmp_path / "keys", "example.org/gate", sealer=sealer_at(tmp_path)).close()
        assert acknowledged <= present(tmp_path)
        report = verify(log, own_verifier(log), held)
        assert report.ok, report.reasons
        held = (log / "checkpoint").read_bytes()
    assert acknowledged


def test_a_full_disk_denies_keeps_what_was_acknowledged_and_does_not_hang(tmp_path: Path) -> None:
    writer = start(tmp_path, 1, "file-limit=200000")
    said, errors = writer.communicate(timeout=60)
    assert writer.returncode == 1
    assert b"stopped: ['PC6001']" in errors
    assert b"File too large" in errors
    acknowledged = {f"event-{int(number)}" for number in said.split()}
    assert len(acknowledged) > 50
    open_log(
        tmp_path / "log", tmp_path / "keys", "example.org/gate", sealer=sealer_at(tmp_path)
    ).close()
    assert acknowledged <= present(tmp_path)
    assert verify(tmp_path / "log", own_verifier(tmp_path / "log")).ok
