"""Offline verification of a log's directory with nothing but public keys.

Three questions, each with its own verdict, because a yes to one is often taken for all:

- *integrity*: do entries, tiles, journal and what was signed agree?
- *completeness*: is everything still there? A checkpoint seen earlier shows what was taken back
  since; a quorum of witnesses vouches that nothing ever was. And the events must tell a whole
  story (``account``).
- *freshness*: how long ago did a quorum of witnesses last vouch that there was nothing newer? A
  log that was put back to an older state whole is sound and stale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec

from portcullis.audit.account import Account, Books
from portcullis.audit.checkpoint import Checkpoint, open_checkpoint
from portcullis.audit.files import read as read_file
from portcullis.audit.journal import segments
from portcullis.audit.merkle import EMPTY_ROOT, TILE_WIDTH, Tile, Tree, root_of
from portcullis.audit.note import MAX_NOTE, Verifier
from portcullis.audit.publish import CHECKPOINT, HEAD, VKEY
from portcullis.audit.quorum import AHEAD_SECONDS, Cosigned, Quorum, cosigned_by
from portcullis.audit.segment import WIDTH, Task, check_segments, compare_tiles, said_since
from portcullis.audit.tiles import TileReader
from portcullis.core.errors import Problem

_MOST_REASONS: Final = 20
_LEVELS: Final = 2
"""The levels of tiles that each segment has of its own."""


class Outcome(StrEnum):
    """How a question was answered."""

    PASSED = "passed"
    FAILED = "failed"
    UNCHECKED = "unchecked"


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What a verifier brings along: the more, the more is checked.

    ``held`` is a checkpoint of the log as seen earlier. ``quorum`` is the witness policy, ``now``
    the time (seconds since the epoch) that ages are counted from, ``max_age`` the most seconds
    since the quorum last vouched for the log. ``keep_days`` is how old what was pruned must have
    been.
    """

    held: bytes | None = None
    quorum: Quorum | None = None
    now: float = 0.0
    max_age: float | None = None
    keep_days: float = 0.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What verification found.

    ``size`` and ``root`` (hex) are those of the newest signed head, ``published`` is the size of
    the checkpoint that readers see (-1 for none); ``unpublished`` counts the journal's entries
    that no head covers, ``last_entry`` is the time that the last entry states. ``cosigned`` says
    when (seconds since the epoch) which witness cosigned the checkpoint, ``age`` how many seconds
    ago a quorum did, None for never. ``reasons`` says what failed (the first 20). ``ok`` is False
    when anything failed.
    """

    ok: bool
    origin: str
    size: int = 0
    root: str = ""
    published: int = -1
    integrity: Outcome
    completeness: Outcome
    freshness: Outcome
    journal: Outcome
    unpublished: int = 0
    last_entry: str = ""
    cosigned: dict[str, int] = {}
    age: float | None = None
    events: Account = Account()
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


def read_head(directory: Path, verifier: Verifier) -> Checkpoint:
    """The newest that the log has signed: its head or, without one, its checkpoint.

    Raises Problem as ``read_checkpoint`` does.
    """
    try:
        note = read_file(directory / HEAD, MAX_NOTE)
    except OSError:
        return read_checkpoint(directory, verifier)[0]
    return open_checkpoint(note, verifier)


def verify(
    directory: Path,
    verifier: Verifier,
    held: bytes | None = None,
    *,
    expected: Expected | None = None,
    processes: int = 1,
    advance: Callable[[int], None] = lambda _: None,
) -> Report:
    """Check every byte of the log; ``held`` alone is short for what is ``expected``.

    Up to ``processes`` processes do it; ``advance`` is told how many more entries were checked.
    Problem PC7005 when there is no log, PC6005 when the checkpoint held is not signed by
    ``verifier``.
    """
    expected = expected or Expected(held=held)
    earlier = open_checkpoint(expected.held, verifier) if expected.held is not None else None
    if not any((directory / part).exists() for part in (CHECKPOINT, VKEY, "tile", "journal")):
        raise Problem("PC7005", f"there is no audit log in {directory}")
    check = _Verification(directory, expected, earlier, advance)
    return check.run(verifier, processes)


class _Verification:
    def __init__(
        self,
        directory: Path,
        expected: Expected,
        earlier: Checkpoint | None,
        advance: Callable[[int], None],
    ) -> None:
        self._advance = advance
        self._directory = directory
        self._expected = expected
        self._earlier = earlier
        self._reasons: list[str] = []
        self._integrity = Outcome.PASSED
        self._completeness = Outcome.UNCHECKED
        self._freshness = Outcome.UNCHECKED
        self._journal = Outcome.UNCHECKED
        self._left = 0
        self._books = Books()
        self._cosigned: Cosigned | None = None
        self._note = b""

    def run(self, verifier: Verifier, processes: int) -> Report:
        try:
            published, head = self._signed(verifier)
        except Problem as problem:
            self._fail(problem.detail)
            return self._report(Checkpoint(verifier.name, 0, b""), -1, Account())
        wanted = [(head, "head"), *([(published, "checkpoint")] if published else [])]
        roots = self._roots(head, [each.size for each, _ in wanted], processes)
        account = Account()
        if roots is not None:
            for each, name in wanted:
                if roots[each.size] != each.root:
                    self._fail(f"the entries do not give the root that was signed as {name}")
            if published or self._expected.quorum:
                self._see_quorum(verifier)
            self._compare_earlier(head, roots)
            account = self._settle(head, verifier)
        return self._report(head, published.size if published else -1, account)

    def _signed(self, verifier: Verifier) -> tuple[Checkpoint | None, Checkpoint]:
        """The published checkpoint and the newest head, which may be the same."""
        found: dict[str, Checkpoint] = {}
        for name in (CHECKPOINT, HEAD):
            try:
                note = read_file(self._directory / name, MAX_NOTE)
                found[name] = open_checkpoint(note, verifier)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise Problem("PC6005", f"{name}: {error.strerror}") from None
            except Problem as problem:
                raise Problem("PC6005", f"{name}: {problem.detail}") from None
            if name == CHECKPOINT:
                self._note = note
        if not found:
            raise Problem("PC6005", "checkpoint: missing")
        return found.get(CHECKPOINT), max(found.values(), key=lambda each: each.size)

    def _roots(self, head: Checkpoint, sizes: list[int], processes: int) -> dict[int, bytes] | None:
        """The roots at these sizes and at that of the earlier checkpoint; None if unreadable."""
        earlier = self._earlier.size if self._earlier else 0
        marks = {size for size in (*sizes, earlier) if 0 < size <= head.size}
        found = {0: EMPTY_ROOT}
        upper = Tree()
        reader = TileReader(self._directory, head.size)
        tasks = self._tasks(head.size, marks, earlier if self._earlier else head.size)
        for number, part in enumerate(check_segments(tasks, processes)):
            self._advance(max(0, min(WIDTH, head.size - number * WIDTH)))
            for fault in part.faults:
                self._fail(fault)
            if part.broken:
                self._fail(part.broken)
                return None
            if part.journal:
                self._fail_journal(part.journal)
            self._left += part.left
            self._books.add(part.tally)
            below = upper.edges()
            if part.root is not None:
                tiles = upper.append([part.root])
                self._compare(reader, tiles)
            for size, edges in part.marks.items():
                whole = len(edges) > _LEVELS and bool(edges[_LEVELS])
                above = upper.edges() if whole else below
                found[size] = root_of([*edges[:_LEVELS], *above])
        self._compare(reader, upper.partial())
        return found

    def _tasks(self, size: int, marks: set[int], since: int) -> Iterator[Task]:
        """A segment of the tree each, and those that are in the journal alone."""
        known: list[int] = []
        if (self._directory / "journal").is_dir():
            self._journal = Outcome.PASSED
            try:
                known = segments(self._directory / "journal")
            except Problem as problem:
                self._fail_journal(problem.detail)
        journal = self._journal is Outcome.PASSED
        end = max(size, known[-1] + 1 if known else 0)
        for first in range(0, end, WIDTH):
            yield Task(
                directory=str(self._directory),
                first=first,
                size=size,
                marks=tuple(mark for mark in marks if first < mark <= first + WIDTH),
                since=since,
                journal=journal,
            )

    def _compare(self, reader: TileReader, tiles: list[Tile]) -> None:
        for fault in compare_tiles(
            reader, [Tile(tile.level + _LEVELS, tile.index, tile.hashes) for tile in tiles]
        ):
            self._fail(fault)

    def _see_quorum(self, verifier: Verifier) -> None:
        quorum, now = self._expected.quorum, self._expected.now
        if quorum is None:
            return
        if not self._note:
            self._stale("no checkpoint is published")
            return
        try:
            found = cosigned_by(quorum, verifier, self._note, now)
        except Problem as problem:
            self._stale(problem.detail)
            return
        self._cosigned = found
        if not quorum.quorum:
            if self._expected.max_age is not None:
                self._stale("the witness policy asks nobody to vouch for the log")
            return
        self._completeness = Outcome.PASSED
        most = self._expected.max_age
        if most is not None:
            age = now - (found.time or 0)
            self._freshness = Outcome.PASSED
            if age > most:
                self._stale(f"the witnesses last vouched for the log {age:.0f} seconds ago")

    def _compare_earlier(self, head: Checkpoint, roots: dict[int, bytes]) -> None:
        earlier = self._earlier
        if earlier is None:
            return
        if earlier.size > head.size:
            covered = f"the checkpoint held covers {earlier.size} entries"
            self._missing(f"{covered}, the log {head.size}")
        elif earlier.root != roots[earlier.size]:
            self._missing(f"the first {earlier.size} entries are not those of the checkpoint held")
        elif self._completeness is not Outcome.FAILED:
            self._completeness = Outcome.PASSED
            self._compare_times()

    def _compare_times(self) -> None:
        """What came after the checkpoint held cannot be older than its cosignatures."""
        quorum, held = self._expected.quorum, self._expected.held
        earliest = self._books.earliest()
        if quorum is None or held is None or earliest is None:
            return
        try:
            vouched = quorum.met(held, self._expected.now).time
        except Problem as problem:
            self._missing(f"the checkpoint held: {problem.detail}")
            return
        behind = (vouched or 0) - earliest.timestamp()
        if behind > AHEAD_SECONDS:
            self._stale(f"an entry states a time {behind:.0f} seconds before it can have been made")

    def _settle(self, head: Checkpoint, verifier: Verifier) -> Account:
        reader = TileReader(self._directory, head.size)
        bundles = range(-(-head.size // TILE_WIDTH))
        try:
            self._books.settle(chain.from_iterable(reader.entries(bundle) for bundle in bundles))
        except Problem as problem:
            self._fail(problem.detail)
        gone = list(self._pruned_faults())
        if gone and self._read_on(head, verifier):
            gone = list(self._pruned_faults())
        account = self._books.account()
        for fault in chain(account.faults(), gone):
            self._missing(fault)
        return account

    def _pruned_faults(self) -> Iterator[str]:
        return self._books.pruned_faults(self._expected.keep_days, self._expected.now)

    def _read_on(self, head: Checkpoint, verifier: Verifier) -> bool:
        """Learn what a gate that runs has pruned, on record, since the head was read."""
        try:
            now = read_head(self._directory, verifier)
            if now.size <= head.size:
                return False
            self._books.learn(said_since(self._directory, head, now))
        except Problem:
            return False  # what came since does not verify, and says nothing
        return True

    def _fail(self, reason: str) -> None:
        self._integrity = Outcome.FAILED
        self._explain(reason)

    def _fail_journal(self, reason: str) -> None:
        self._journal = Outcome.FAILED
        self._fail(f"journal: {reason}")

    def _missing(self, reason: str) -> None:
        self._completeness = Outcome.FAILED
        self._explain(reason)

    def _stale(self, reason: str) -> None:
        self._freshness = Outcome.FAILED
        self._explain(reason)

    def _explain(self, reason: str) -> None:
        if len(self._reasons) < _MOST_REASONS and reason not in self._reasons:
            self._reasons.append(reason)

    def _report(self, head: Checkpoint, published: int, account: Account) -> Report:
        found = self._cosigned
        age = None
        if found is not None and found.time:  # 0: a policy of nobody
            age = max(0.0, self._expected.now - found.time) if self._expected.now else None
        outcomes = (self._integrity, self._completeness, self._freshness)
        return Report(
            ok=Outcome.FAILED not in outcomes,
            origin=head.origin,
            size=head.size,
            root=head.root.hex(),
            published=published,
            integrity=self._integrity,
            completeness=self._completeness,
            freshness=self._freshness,
            journal=self._journal,
            unpublished=self._left,
            last_entry=self._books.last,
            cosigned=dict(found.times) if found else {},
            age=age,
            events=account,
            reasons=tuple(self._reasons),
        )
