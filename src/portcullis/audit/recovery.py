"""Opening a log: prove the journal against what was signed, then derive the rest.

What was signed is the checkpoint and, with witnesses, the head, which is newer or the same.

Until the proof has succeeded nothing is changed, so that a damaged log can be investigated.
Segments behind the *seal* need no replay: their tiles were on disk when it was written, and the
tree resumed from these must still give the signed root. Otherwise everything is replayed.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from portcullis.audit.checkpoint import Checkpoint, open_checkpoint
from portcullis.audit.files import read as read_file
from portcullis.audit.files import replace
from portcullis.audit.journal import SEGMENT, Tail, read, recover, segments
from portcullis.audit.merkle import TILE_WIDTH, Tree
from portcullis.audit.note import MAX_NOTE, Signer
from portcullis.audit.proofs import subtree
from portcullis.audit.pruned import leaves
from portcullis.audit.publish import CHECKPOINT, HEAD, Offer, Publisher
from portcullis.audit.tiles import TileReader
from portcullis.core.errors import Problem

_SEAL: Final = "sealed"


def is_new(directory: Path) -> bool:
    """Whether there is no log in the directory yet.

    The first head is signed before the first segment is made, so Problem PC6002 is raised when
    there are segments without a head or checkpoint.
    """
    if (directory / CHECKPOINT).exists() or (directory / HEAD).exists():
        return False
    if segments(directory / "journal"):
        raise Problem("PC6002", "the checkpoint is missing")
    return True


def restore(directory: Path, signer: Signer, offer: Offer | None = None) -> tuple[Tail, Publisher]:
    """Check the log and bring its tiles and its signed head up to the journal.

    Raises Problem PC6002 when the journal is damaged, holds fewer entries than were signed, or
    does not give the signed root.
    """
    journal = directory / "journal"
    if is_new(directory):
        publisher = Publisher(directory, signer, Tree(), offer)
        publisher.publish()
        return Tail(0, 0, 0), publisher
    signed = _signed(directory, signer)
    base = sealed(directory)
    if base:
        try:
            _check_below(directory, base, signed)
            tail = _check(directory, _resume(directory, base), signed)
        except Problem:
            base = 0
    if not base:
        tail = _check(directory, Tree(), signed)
    publisher = Publisher(directory, signer, _resume(directory, base), offer)
    pruned = _Leaves(directory, signed)
    for frame in read(journal, base):
        publisher.add(frame.entries, pruned.leaves(frame.first, frame.entries))
    publisher.publish()
    if offer is None:
        (directory / HEAD).unlink(missing_ok=True)
    return tail, publisher


def sealed(directory: Path) -> int:
    """How many entries, in whole segments, need no replay."""
    try:
        base = int((directory / "journal" / _SEAL).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
    return base if base > 0 and base % SEGMENT == 0 else 0


def seal(directory: Path, base: int) -> None:
    """Flush the file system, then note that the first ``base`` entries need no replay.

    Without a seal opening takes longer, and no more than that: a failure is not reported.
    """
    os.sync()
    with contextlib.suppress(OSError):
        replace(directory / "journal" / _SEAL, str(base).encode())


def _signed(directory: Path, signer: Signer) -> list[Checkpoint]:
    """The checkpoint and the head, as far as they are there, in the order of their sizes."""
    found = []
    for name in (CHECKPOINT, HEAD):
        try:
            note = read_file(directory / name, MAX_NOTE)
            found.append(open_checkpoint(note, signer.verifier))
        except FileNotFoundError:
            continue
        except Problem as problem:
            raise Problem("PC6002", f"the log's {name}: {problem.detail}") from None
    return sorted(found, key=lambda checkpoint: checkpoint.size)


def _resume(directory: Path, base: int) -> Tree:
    return Tree.resume(base, TileReader(directory, base).hashes)


def _check_below(directory: Path, base: int, signed: list[Checkpoint]) -> None:
    """What was signed before the seal must be in the tiles that it speaks of."""
    node = TileReader(directory, base).node
    for each in signed:
        if 0 < each.size < base and subtree(node, 0, each.size) != each.root:
            raise _other_root()


class _Leaves:
    """The leaf hashes of the journal's entries; those that were pruned have theirs in the tiles.

    Nothing is pruned before it is signed and its tiles are on disk. What the tiles say is held
    against the signed root, as everything is.
    """

    def __init__(self, directory: Path, signed: list[Checkpoint]) -> None:
        self._reader = TileReader(directory, max((each.size for each in signed), default=0))

    def leaves(self, first: int, entries: list[bytes]) -> list[bytes]:
        """Those of entries from number ``first`` on. Problem PC6005 when a tile is missing."""
        return leaves(entries, lambda place: self._hash(first + place))

    def _hash(self, number: int) -> bytes:
        if number >= self._reader.size:
            raise Problem("PC6002", f"entry {number} is empty and was never signed")
        return self._reader.hashes(0, number // TILE_WIDTH)[number % TILE_WIDTH]


def _check(directory: Path, tree: Tree, signed: list[Checkpoint]) -> Tail:
    """Replay the journal on the tree; each signed root must be passed on the way."""
    ahead = [each for each in signed if each.size >= tree.size]
    pruned = _Leaves(directory, signed)

    def pass_by() -> None:
        while ahead and ahead[0].size == tree.size:
            if ahead.pop(0).root != tree.root():
                raise _other_root()

    def visit(entries: list[bytes]) -> None:
        hashes = pruned.leaves(tree.size, entries)
        while ahead and ahead[0].size - tree.size <= len(hashes):
            upto = ahead[0].size - tree.size
            tree.append(hashes[:upto])
            hashes = hashes[upto:]
            pass_by()
        tree.append(hashes)

    pass_by()
    tail = recover(directory / "journal", tree.size, visit)
    if ahead:
        size = ahead[-1].size
        raise Problem("PC6002", f"the journal holds {tail.size} entries, {size} have been signed")
    return tail


def _other_root() -> Problem:
    return Problem("PC6002", "the journal does not give the root that was signed")
