"""The log is checked by a verifier that nobody here wrote: Go's sumdb/note and sumdb/tlog."""

from __future__ import annotations

import base64
import os
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

import tampering
from needs import needs_go
from portcullis.audit.checkpoint import Checkpoint, open_checkpoint
from portcullis.audit.log import open_log
from portcullis.audit.note import parse_note
from portcullis.audit.proofs import consistency_proof
from portcullis.audit.tiles import TileReader
from portcullis.audit.verify import own_verifier
from portcullis.core.event import Event, EventType
from sealers import sealer_at

pytestmark = needs_go

SOURCE = Path(__file__).with_name("go_verify") / "main.go"
FIRST, SECOND = 300, 237


@pytest.fixture(scope="module")
def go_verify(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go program, built from Debian's golang-golang-x-mod-dev."""
    folder = tmp_path_factory.mktemp("go")
    program = folder / "go_verify"
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": "/usr/share/gocode",
        "GOCACHE": str(folder / "cache"),
        "GOFLAGS": "",
        "CGO_ENABLED": "0",
    }
    subprocess.run(
        ["go", "build", "-o", str(program), str(SOURCE)], env=environment, check=True, timeout=300
    )
    return program


def fill(root: Path, start: int, count: int) -> Checkpoint:
    with open_log(root / "log", root / "keys", "example.org/gate", sealer=sealer_at(root)) as log:
        for number in range(start, start + count):
            log.enqueue(
                Event(
                    v=1,
                    id=f"e{number}",
                    time=datetime.now(UTC),
                    type=EventType.DECISION,
                    gateway="gw",
                    reason="x" * number,
                )
            )
    note = (root / "log/checkpoint").read_bytes()
    return open_checkpoint(note, own_verifier(root / "log"))


def run(
    program: Path, log: Path, vkey: str, old: Checkpoint, *witnesses: str
) -> subprocess.CompletedProcess[str]:
    root = base64.b64encode(old.root).decode()
    return subprocess.run(
        [str(program), str(log), vkey, str(old.size), root, *witnesses],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.timeout(400)
def test_go_verifies_checkpoint_every_record_and_growth_and_refuses_tampering(
    go_verify: Path, tmp_path: Path
) -> None:
    old = fill(tmp_path, 0, FIRST)
    new = fill(tmp_path, FIRST, SECOND)
    log = tmp_path / "log"
    vkey = str(own_verifier(log))

    done = run(go_verify, log, vkey, old)
    assert done.returncode == 0, done.stderr
    *proof, verdict = done.stdout.split("\n")[:-1]
    total = FIRST + SECOND
    assert verdict == f"verified example.org/gate: {total} of {total} records"
    ours = consistency_proof(TileReader(log, new.size).node, old.size, new.size)
    assert proof == [base64.b64encode(item).decode() for item in ours]

    other = Checkpoint(old.origin, old.size, bytes(32))
    assert run(go_verify, log, vkey, other).returncode != 0
    bundle = log / "tile/entries/000"
    whole = bundle.read_bytes()
    bundle.write_bytes(whole.replace(b'"decision"', b'"Decision"', 1))
    assert run(go_verify, log, vkey, old).returncode != 0
    bundle.write_bytes(whole)
    checkpoint = log / "checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes().replace(b"\n537\n", b"\n536\n"))
    refused = run(go_verify, log, vkey, old)
    assert "invalid signature" in refused.stderr


@pytest.mark.timeout(400)
def test_go_verifies_the_signatures_of_log_and_witnesses_on_a_published_checkpoint(
    go_verify: Path, tmp_path: Path
) -> None:
    scene = tampering.build(tmp_path)
    cosigned = scene.quorum.met(scene.note, time.time()).times
    keys = [str(scene.quorum.witnesses[name].cosigner) for name in cosigned]
    assert len(keys) >= 2
    old = open_checkpoint(scene.kept, scene.verifier)
    done = run(go_verify, scene.log, str(scene.verifier), old, *keys)
    assert done.returncode == 0, done.stderr
    assert f"verified {tampering.ORIGIN}: {tampering.SIZE} of" in done.stdout
    moved = parse_note(scene.kept).signatures[1:]
    scene.show(scene.sign(tampering.SIZE, bytes(32)), *(one.line() for one in moved))
    refused = run(go_verify, scene.log, str(scene.verifier), old, *keys)
    assert "invalid signature" in refused.stderr
