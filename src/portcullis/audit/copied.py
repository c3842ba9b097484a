"""A copy of a log up to its newest signed head, while its writer goes on.

The journal is copied frame by frame; tiles and bundles are made from it, as the writer made them,
and must give the signed root. So what the writer replaces or prunes meanwhile does no harm.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Final

from portcullis.audit.checkpoint import Checkpoint
from portcullis.audit.files import read as read_file
from portcullis.audit.journal import SEGMENT, encode_frame, read, segment_path
from portcullis.audit.merkle import TILE_WIDTH, Tree
from portcullis.audit.note import MAX_NOTE
from portcullis.audit.pruned import leaves
from portcullis.audit.publish import CHECKPOINT, HEAD, VKEY, Derived
from portcullis.audit.tiles import TileReader
from portcullis.audit.verify import own_verifier, read_head
from portcullis.core.errors import Problem

_STAMPS: Final = "timestamps"


def copy_log(source: Path, target: Path) -> Checkpoint:
    """Copy the log in ``source`` to ``target``, which is made; up to what is returned.

    Raises Problem PC7005 where there is no log, PC6005 or PC6002 when it is not what was signed,
    OSError.
    """
    (target / "journal").mkdir(parents=True)
    shutil.copyfile(source / VKEY, target / VKEY)
    for name in (CHECKPOINT, HEAD):  # the head is the newer one, so it is read last
        with contextlib.suppress(FileNotFoundError):
            (target / name).write_bytes(read_file(source / name, MAX_NOTE))
    head = read_head(target, own_verifier(target))
    if (source / _STAMPS).is_dir():
        shutil.copytree(source / _STAMPS, target / _STAMPS)
    tiles, derived, size = TileReader(source, head.size), Derived(target, Tree()), 0
    for frame in read(source / "journal"):
        first, entries = frame.first, frame.entries[: head.size - frame.first]
        if not entries:
            break
        place = segment_path(target / "journal", first - first % SEGMENT)
        with place.open("ab") as file:
            file.write(encode_frame(first, entries))

        def kept(at: int, first: int = first) -> bytes:
            number = first + at
            return tiles.hashes(0, number // TILE_WIDTH)[number % TILE_WIDTH]

        derived.add(entries, leaves(entries, kept))
        size = first + len(entries)
    if size != head.size or derived.complete() != head.root:
        raise Problem(
            "PC6002", f"{head.origin}: the journal does not give the root that was signed"
        )
    return head
