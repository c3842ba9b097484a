"""Offline verification of a log's directory with nothing but the log's public key.

Three questions, each with its own verdict, because a yes to one is often taken for all:

- *integrity*: do entries, tiles, journal and the signed checkpoint agree?
- *completeness*: is everything still there that a checkpoint seen earlier covered? Only such a
  checkpoint shows a rewrite by the holder of the key; without one this is not checked.
- *freshness*: when was the last entry written? For the reader to judge: a log that was put back
  to an older state whole is sound and stale.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import msgspec

from portcullis.audit.checkpoint import Checkpoint, open_checkpoint
from portcullis.audit.files import read as read_file
from portcullis.audit.journal import read
from portcullis.audit.merkle import TILE_WIDTH, Tile, Tree, leaf_hash
from portcullis.audit.note import MAX_NOTE, Verifier
from portcullis.audit.publish import CHECKPOINT, VKEY
from portcullis.audit.tiles import TileReader, tile_path
from portcullis.core.errors import Problem

_MOST_REASONS = 20


class Outcome(StrEnum):
    """How a question was answered."""

    PASSED = "passed"
    FAILED = "failed"
    UNCHECKED = "unchecked"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What verification found.

    ``size`` and ``root`` (hex) are the signed checkpoint's; ``unpublished`` counts the journal's
    entries behind it, ``last_entry`` is the time of the last entry. ``reasons`` says what failed
    (the first 20). ``ok`` is False when anything failed.
    """

    ok: bool
    origin: str
    size: int = 0
    root: str = ""
    integrity: Outcome
    completeness: Outcome
    journal: Outcome
    unpublished: int = 0
    last_entry: str = ""
    reasons: tuple[str, ...]


def load_verifier(key: str) -> Verifier:
    """A verifier from a verifier key, or from a file that holds one. Problem PC6005."""
    try:
        text = Path(key).read_text(encoding="utf-8")
    except (OSError, ValueError):
        if "+" not in key:
            detail = f"{key}: neither a verifier key nor a readable file"
            raise Problem("PC6005", detail) from None
        text = key
    return Verifier.parse(text)


def own_verifier(directory: Path) -> Verifier:
    """The key that lies beside the log: whoever can write the log can have replaced it too.

    Problem PC7005 when there is none, PC6005 when it is not a key.
    """
    if not (directory / VKEY).is_file():
        raise Problem("PC7005", f"there is no audit log in {directory}: {VKEY} is missing")
    return load_verifier(str(directory / VKEY))


def read_checkpoint(directory: Path, verifier: Verifier) -> tuple[Checkpoint, bytes]:
    """The log's checkpoint and its note, verified; Problem PC6005 or, for no log, PC7005."""
    try:
        note = read_file(directory / CHECKPOINT, MAX_NOTE)
    except OSError:
        raise Problem("PC7005", f"there is no readable audit log in {directory}") from None
    return open_checkpoint(note, verifier), note


def verify(directory: Path, verifier: Verifier, held: bytes | None = None) -> Report:
    """Check every byte of the log. ``held`` is a checkpoint of the log, as seen earlier.

    Problem PC7005 when there is no log, PC6005 when ``held`` is not signed by ``verifier``.
    """
    earlier = open_checkpoint(held, verifier) if held is not None else None
    if not any((directory / part).exists() for part in (CHECKPOINT, VKEY, "tile", "journal")):
        raise Problem("PC7005", f"there is no audit log in {directory}")
    check = _Verification(directory, earlier)
    try:
        signed, _ = read_checkpoint(directory, verifier)
    except Problem as problem:
        check.fail(f"checkpoint: {problem.detail}")
        return check.report(Checkpoint(verifier.name, 0, b""))
    check.run(signed)
    return check.report(signed)


class _Verification:
    def __init__(self, directory: Path, earlier: Checkpoint | None) -> None:
        self._directory = directory
        self._earlier = earlier
        self._earlier_root: bytes | None = None
        self._reasons: list[str] = []
        self._integrity = Outcome.PASSED
        self._completeness = Outcome.UNCHECKED
        self._journal: _JournalEntries | None = None
        self._journal_sound = True
        self._last = b""

    def fail(self, reason: str) -> None:
        self._integrity = Outcome.FAILED
        self._explain(reason)

    def _explain(self, reason: str) -> None:
        if len(self._reasons) < _MOST_REASONS:
            self._reasons.append(reason)

    def run(self, signed: Checkpoint) -> None:
        if (self._directory / "journal").is_dir():
            self._journal = _JournalEntries(self._directory / "journal")
        reader = TileReader(self._directory, signed.size)
        tree = Tree()
        for index in range(-(-signed.size // TILE_WIDTH)):
            try:
                entries = reader.entries(index)
            except Problem as problem:
                self.fail(problem.detail)
                return
            self._compare_journal(index, entries)
            for tile in self._grow(tree, [leaf_hash(entry) for entry in entries]):
                self._compare_tile(reader, tile)
            self._last = entries[-1]
        for tile in tree.partial():
            self._compare_tile(reader, tile)
        if tree.root() != signed.root:
            self.fail("the entries do not give the root that was signed")
        self._compare_earlier(signed)
        if self._journal and self._journal_sound:
            try:
                self._journal.finish()
            except Problem as problem:
                self._fail_journal(problem.detail)

    def _grow(self, tree: Tree, leaves: list[bytes]) -> list[Tile]:
        """Append, noting the root at the size of the earlier checkpoint on the way."""
        upto = (self._earlier.size if self._earlier else -1) - tree.size
        if not 0 < upto <= len(leaves):
            return tree.append(leaves)
        tiles = tree.append(leaves[:upto])
        self._earlier_root = tree.root()
        return tiles + tree.append(leaves[upto:])

    def _compare_tile(self, reader: TileReader, tile: Tile) -> None:
        try:
            same = reader.hashes(tile.level, tile.index) == tile.hashes
        except Problem as problem:
            self.fail(problem.detail)
            return
        if not same:
            path = tile_path(tile.level, tile.index, len(tile.hashes))
            self.fail(f"{path}: not the hashes of the entries")

    def _compare_earlier(self, signed: Checkpoint) -> None:
        earlier = self._earlier
        if earlier is None:
            return
        if earlier.size > signed.size:
            reason = f"the checkpoint held covers {earlier.size} entries, the log {signed.size}"
        elif earlier.size and earlier.root != self._earlier_root:
            reason = f"the first {earlier.size} entries are not those of the checkpoint held"
        else:
            self._completeness = Outcome.PASSED
            return
        self._completeness = Outcome.FAILED
        self._explain(reason)

    def _compare_journal(self, index: int, entries: list[bytes]) -> None:
        if self._journal is None or not self._journal_sound:
            return
        try:
            same = self._journal.take(len(entries)) == entries
        except Problem as problem:
            self._fail_journal(problem.detail)
            return
        if not same:
            self._fail_journal(f"{tile_path('entries', index)} and the journal disagree")

    def _fail_journal(self, reason: str) -> None:
        self._journal_sound = False
        self.fail(f"journal: {reason}")

    def report(self, signed: Checkpoint) -> Report:
        journal = Outcome.UNCHECKED
        if self._journal:
            journal = Outcome.PASSED if self._journal_sound else Outcome.FAILED
        return Report(
            ok=Outcome.FAILED not in {self._integrity, self._completeness},
            origin=signed.origin,
            size=signed.size,
            root=signed.root.hex(),
            integrity=self._integrity,
            completeness=self._completeness,
            journal=journal,
            unpublished=self._journal.left if self._journal else 0,
            last_entry=_time(self._last),
            reasons=tuple(self._reasons),
        )


class _JournalEntries:
    """The journal's entries, some at a time."""

    def __init__(self, directory: Path) -> None:
        self._frames = read(directory)
        self._ready: list[bytes] = []
        self.left = 0

    def take(self, count: int) -> list[bytes]:
        while len(self._ready) < count:
            frame = next(self._frames, None)
            if frame is None:
                raise Problem("PC6005", "it holds fewer entries than the checkpoint covers")
            self._ready.extend(frame.entries)
        taken, self._ready = self._ready[:count], self._ready[count:]
        return taken

    def finish(self) -> None:
        self.left = len(self._ready) + sum(len(frame.entries) for frame in self._frames)


class _Timed(msgspec.Struct):
    time: str = ""


def _time(entry: bytes) -> str:
    try:
        return msgspec.json.decode(entry, type=_Timed).time if entry else ""
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
