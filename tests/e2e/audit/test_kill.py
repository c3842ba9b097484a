"""A log whose writer dies at any moment loses no event that it acknowledged.

``PORTCULLIS_LOG_KILLS`` is how often. Of four logs one is witnessed: there an event is acknowledged
when a checkpoint that a quorum has cosigned covers it, too.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from portcullis.audit.checkpoint import open_checkpoint
from portcullis.audit.log import AuditLog, open_log
from portcullis.audit.query import records
from portcullis.audit.quorum import load_quorum
from portcullis.audit.verify import own_verifier, verify
from sealers import sealer_at
from witnesses import witness_thread, written_policy

WRITER = str(Path(__file__).with_name("writer.py"))
KILLS = int(os.environ.get("PORTCULLIS_LOG_KILLS", "20"))
PER_LOG = min(10, KILLS // 4)
OPENING = 0.2


def start(root: Path, number: int, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, WRITER, str(root), str(number), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # what readline has not returned stays for communicate to read
    )


def opened(root: Path) -> AuditLog:
    return open_log(root / "log", root / "keys", "example.org/gate", sealer=sealer_at(root))


def present(root: Path) -> set[str]:
    log = root / "log"
    return {record.event.id for record in records(log, own_verifier(log))}


def witnessed(root: Path, policy: Path) -> set[str]:
    """What is under the checkpoint, if a quorum cosigned that."""
    log = root / "log"
    note = (log / "checkpoint").read_bytes()
    if not load_quorum(policy).met(note, time.time()).met:
        return set()
    size = open_checkpoint(note, own_verifier(log)).size
    known = records(log, own_verifier(log))
    return {record.event.id for record in known if record.index < size}


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
@pytest.mark.parametrize("log_number", range(KILLS // PER_LOG))
def test_kills_lose_no_acknowledged_event(tmp_path: Path, log_number: int) -> None:
    acknowledged: set[str] = set()
    held: bytes | None = None
    log = tmp_path / "log"
    opened(tmp_path).close()
    with contextlib.ExitStack() as stack:
        policy = None
        if log_number % 4 == 3:
            witness = witness_thread(tmp_path / "w", "w1.example", [own_verifier(log)])
            policy = written_policy(tmp_path / "policy", [stack.enter_context(witness)])
        options = [f"witnesses={policy}"] if policy else []
        for turn in range(PER_LOG):
            numbers = kill_soon(start(tmp_path, 1 + turn * 100_000, *options))
            acknowledged |= {f"event-{int(number)}" for number in numbers}
            if policy:  # who opens it without its witnesses publishes without them
                assert acknowledged <= witnessed(tmp_path, policy)
            else:
                opened(tmp_path).close()
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
    opened(tmp_path).close()
    assert acknowledged <= present(tmp_path)
    assert verify(tmp_path / "log", own_verifier(tmp_path / "log")).ok
