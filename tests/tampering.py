"""A witnessed log, its keys and its witnesses, for somebody who holds the disk and the log's key.

``build`` makes one; ``Scene.copy`` gives each attack its own.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from portcullis.audit.checkpoint import Checkpoint
from portcullis.audit.feeder import Feeder
from portcullis.audit.journal import Journal, Tail, segment_path
from portcullis.audit.keys import load_keys
from portcullis.audit.log import AuditLog, open_log
from portcullis.audit.merkle import Tree, leaf_hash
from portcullis.audit.note import Note, Signer, Verifier, encode64, parse_note, parse_signatures
from portcullis.audit.proofs import consistency_proof
from portcullis.audit.publish import Publisher
from portcullis.audit.quorum import Quorum, load_quorum
from portcullis.audit.shrink import encode
from portcullis.audit.tiles import TileReader
from portcullis.audit.verify import Expected, Report, own_verifier, verify
from portcullis.audit.witness import Witness
from portcullis.bootstrap import SystemClock
from portcullis.bootstrap.witness import opened_witness
from portcullis.core.event import Event, EventType
from sealers import sealer_at
from witnesses import Clock, witness_thread, written_policy

ORIGIN = "example.org/gate"
KEPT, SIZE = 600, 700
WITNESSES = ("w1.example", "w2.example", "w3.example")


def event(number: int, at: datetime | None = None) -> Event:
    """Decisions at even numbers, their results at odd ones."""
    made = at or datetime.now(UTC) + timedelta(microseconds=number)
    common = {"v": 1, "id": f"{number:032x}", "time": made, "gateway": ORIGIN, "verdict": "allow"}
    if number % 2:
        decision = f"{number - 1:032x}"
        return Event(type=EventType.TOOL_RESULT, decision=decision, **common)
    return Event(type=EventType.TOOL_CALL, server="crm", name="find", **common)


@dataclass(frozen=True)
class Scene:
    """Everything below ``root``. ``kept`` is a checkpoint that an auditor took home."""

    root: Path
    kept: bytes = b""

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def verifier(self) -> Verifier:
        """As the auditor has it: from elsewhere."""
        return Verifier.parse((self.root / "auditor.vkey").read_text())

    @property
    def signer(self) -> Signer:
        """The stolen key."""
        sealer = sealer_at(self.root)
        return load_keys(self.keys, ORIGIN, create=False, sealer=sealer).signer

    @property
    def quorum(self) -> Quorum:
        return load_quorum(self.root / "policy")

    @property
    def note(self) -> bytes:
        return (self.log / "checkpoint").read_bytes()

    def copy(self, root: Path) -> Scene:
        shutil.copytree(self.root, root, dirs_exist_ok=True)
        return replace(self, root=root)

    def entries(self) -> list[bytes]:
        reader = TileReader(self.log, SIZE)
        return [entry for bundle in range(-(-SIZE // 256)) for entry in reader.entries(bundle)]

    def rewrite(self, entries: Sequence[bytes], signer: Signer | None = None) -> None:
        """Make the log anew of these entries: tiles, journal, head, signed checkpoint."""
        shutil.rmtree(self.log / "tile")
        for name in ("head", "checkpoint"):
            (self.log / name).unlink(missing_ok=True)
        publisher = Publisher(self.log, signer or self.signer, Tree())
        publisher.add(entries)
        publisher.publish()
        segment_path(self.log / "journal", 0).unlink()
        journal = Journal(self.log / "journal", Tail(0, 0, 0))
        journal.append(entries)
        journal.close()

    @contextlib.contextmanager
    def witness(self, name: str, clock: Clock | None = None) -> Iterator[Witness]:
        """One of the witnesses, as it would be asked."""
        folder = self.root / name
        with opened_witness(folder, name, [self.verifier], clock=clock) as witness:
            yield witness

    def request(self, old: int, note: bytes | None = None) -> bytes:
        """Ask to cosign the log as it is now, proven from its tiles."""
        note = note or self.note
        size = int(note.split(b"\n")[1])
        proof = consistency_proof(TileReader(self.log, size).node, old, size)
        lines = "".join(f"{encode64(item)}\n" for item in proof)
        return f"old {old}\n{lines}\n".encode() + note

    def show(self, note: bytes, *lines: str) -> None:
        """Publish a checkpoint with these cosignatures."""
        found = parse_note(note)
        more = [each for line in lines for each in parse_signatures(line)]
        whole = Note(found.text, (*found.signatures, *more))
        (self.log / "checkpoint").write_bytes(bytes(whole))

    def sign(self, size: int, root: bytes, signer: Signer | None = None) -> bytes:
        return Checkpoint(ORIGIN, size, root).sign(signer or self.signer)

    def verify(
        self, *, kept: bool = False, witnesses: bool = False, max_age: float | None = None,
        later: float = 0, keep_days: float = 0,
    ) -> Report:  # fmt: skip
        """As the auditor does, ``later`` seconds from now."""
        expected = Expected(
            held=self.kept if kept else None,
            quorum=self.quorum if witnesses else None,
            now=time.time() + later,
            max_age=max_age,
            keep_days=keep_days,
        )
        return verify(self.log, self.verifier, expected=expected)

    @contextlib.contextmanager
    def started(self) -> Iterator[AuditLog]:
        """The gate's log as a gate opens it, with the witnesses running."""
        with contextlib.ExitStack() as stack:
            them = [
                stack.enter_context(witness_thread(self.root / name, name, [self.verifier]))
                for name in WITNESSES
            ]
            policy = load_quorum(written_policy(self.root / "running", them, "2"))
            clock = SystemClock()
            feeder = Feeder(self.log, policy, clock=clock, seconds=3)
            sealer = sealer_at(self.root)
            log = open_log(self.log, self.keys, ORIGIN, sealer=sealer, witnesses=feeder)
            try:
                yield log
            finally:
                log.close()


def root_of(entries: Sequence[bytes]) -> bytes:
    tree = Tree()
    tree.append(leaf_hash(entry) for entry in entries)
    return tree.root()


def build(root: Path) -> Scene:
    """A log of 700 entries, witnessed by two of three; the auditor kept its checkpoint at 600."""
    scene = Scene(root)
    sealer = sealer_at(root)
    open_log(scene.log, scene.keys, ORIGIN, sealer=sealer).close()
    (root / "auditor.vkey").write_text(str(own_verifier(scene.log)))
    with scene.started() as log:
        for number in range(KEPT):
            log.enqueue(event(number))
    shutil.copy(root / "running", root / "policy")
    kept = scene.note
    shutil.copytree(scene.log, root / "backup")
    for name in WITNESSES:
        shutil.copytree(root / name, root / f"{name}.backup")
    with scene.started() as log:
        for number in range(KEPT, SIZE):
            log.enqueue(event(number))
    return Scene(root, kept)


def edited(entries: Sequence[bytes], number: int = 42) -> list[bytes]:
    """The entries with one that tells another story."""
    changed = entries[number].replace(b'"crm"', b'"kb"')
    assert changed != entries[number]
    return [*entries[:number], changed, *entries[number + 1 :]]


def other(number: int, at: datetime | None = None) -> bytes:
    return encode(event(number, at))
