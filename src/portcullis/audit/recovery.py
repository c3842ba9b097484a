"""Opening a log: prove the journal against the last signed checkpoint, then derive the rest.

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
from portcullis.audit.merkle import Tree, leaf_hash
from portcullis.audit.note import MAX_NOTE, Signer
from portcullis.audit.publish import CHECKPOINT, Publisher
from portcullis.audit.tiles import TileReader
from portcullis.core.errors import Problem

_SEAL: Final = "sealed"


def is_new(directory: Path) -> bool:
    """Whether there is no log in the directory yet.

    The first checkpoint is signed before the first segment is made, so Problem PC6002 is raised
    when there are segments without a checkpoint.
    """
    if (directory / CHECKPOINT).exists():
        return False
    if segments(directory / "journal"):
        raise Problem("PC6002", "the checkpoint is missing")
    return True


def restore(directory: Path, signer: Signer) -> tuple[Tail, Publisher]:
    """Check the log and bring its tiles and checkpoint up to the journal.

    Raises Problem PC6002 when the journal is damaged, holds fewer entries than were signed, or
    does not give the signed root.
    """
    journal = directory / "journal"
    if is_new(directory):
        publisher = Publisher(directory, signer, Tree())
        publisher.publish()
        return Tail(0, 0, 0), publisher
    signed = _signed(directory, signer)
    base = sealed(directory)
    if base:
        try:
            tail = _check(journal, _resume(directory, base), signed)
        except Problem:
            base = 0
    if not base:
        tail = _check(journal, Tree(), signed)
    publisher = Publisher(directory, signer, _resume(directory, base))
    for frame in read(journal, base):
        publisher.add(frame.entries)
    publisher.publish()
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


def _signed(directory: Path, signer: Signer) -> Checkpoint:
    try:
        return open_checkpoint(read_file(directory / CHECKPOINT, MAX_NOTE), signer.verifier)
    except Problem as problem:
        raise Problem("PC6002", f"the log's checkpoint: {problem.detail}") from None


def _resume(directory: Path, base: int) -> Tree:
    return Tree.resume(base, TileReader(directory, base).hashes)


def _check(journal: Path, tree: Tree, signed: Checkpoint) -> Tail:
    """Replay the journal on the tree; the signed root must be passed on the way."""
    root = tree.root() if tree.size == signed.size else None

    def visit(entries: list[bytes]) -> None:
        nonlocal root
        leaves = [leaf_hash(entry) for entry in entries]
        upto = signed.size - tree.size
        if 0 < upto <= len(leaves):
            tree.append(leaves[:upto])
            root = tree.root()
            leaves = leaves[upto:]
        tree.append(leaves)

    tail = recover(journal, tree.size, visit)
    if tail.size < signed.size:
        raise Problem(
            "PC6002", f"the journal holds {tail.size} entries, {signed.size} have been signed"
        )
    if root != signed.root:
        raise Problem("PC6002", "the journal does not give the root that was signed")
    return tail
