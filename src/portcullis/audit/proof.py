"""Proof that one event is in the log, in one text file (C2SP tlog-proof).

The file's ``extra`` field holds the leaf itself, so the proof needs nothing beside the log's
public key. It is not authenticated by the format: it counts only because it hashes to the leaf.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from portcullis.audit.checkpoint import Checkpoint, open_checkpoint
from portcullis.audit.merkle import HASH_SIZE, TILE_WIDTH, leaf_hash
from portcullis.audit.note import Verifier, decode64, encode64
from portcullis.audit.proofs import inclusion_proof, verify_inclusion
from portcullis.audit.quorum import Quorum, cosigned_by
from portcullis.audit.tiles import TileReader
from portcullis.audit.verify import read_checkpoint
from portcullis.core.errors import Problem

_HEADER: Final = "c2sp.org/tlog-proof@v1"
_MAX_PATH: Final = 64


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A verified proof: entry number ``index`` of the log is ``entry``.

    ``cosigned`` says when (seconds since the epoch) which witness of the policy cosigned it.
    """

    index: int
    entry: bytes
    checkpoint: Checkpoint
    cosigned: Mapping[str, int] = {}


def prove(directory: Path, verifier: Verifier, index: int, note: bytes = b"") -> str:
    """The proof of entry ``index`` under the checkpoint ``note``, by default the log's present one.

    Raises Problem PC6004 when the entry is not (or not yet) published, PC6005 when the log's
    files do not give a proof that holds.
    """
    if note:
        checkpoint = open_checkpoint(note, verifier)
    else:
        checkpoint, note = read_checkpoint(directory, verifier)
    if not 0 <= index < checkpoint.size:
        raise Problem("PC6004", f"the checkpoint does not cover an entry {index}")
    reader = TileReader(directory, checkpoint.size)
    entry = reader.entries(index // TILE_WIDTH)[index % TILE_WIDTH]
    if not entry:
        raise Problem("PC6004", f"entry {index} was pruned")
    path = inclusion_proof(reader.node, index, checkpoint.size)
    lines = [_HEADER, f"extra {encode64(entry)}", f"index {index}", *map(encode64, path), ""]
    text = "\n".join(lines) + "\n" + note.decode()
    verify_proof(text, verifier)
    return text


def verify_proof(
    text: str, verifier: Verifier, quorum: Quorum | None = None, now: float = 0.0
) -> Proof:
    """Check a proof with the log's public key and, if given, a witness policy at time ``now``.

    Raises Problem PC6005 when it does not hold or no quorum cosigned its checkpoint.
    """
    head, gap, note = text.partition("\n\n")
    lines = head.split("\n")
    if not gap or len(lines) < 3 or lines[0] != _HEADER:  # noqa: PLR2004 - header, extra, index
        raise Problem("PC6005", "not a tlog-proof with its entry")
    entry = decode64(_field(lines[1], "extra"))
    number = _field(lines[2], "index")
    if not number.isascii() or not number.isdigit() or str(int(number[:20])) != number:
        raise Problem("PC6005", "the proof's index is not a decimal number")
    path = [decode64(line) for line in lines[3:]]
    if len(path) > _MAX_PATH or any(len(item) != HASH_SIZE for item in path):
        raise Problem("PC6005", "the proof's path is not a list of hashes")
    checkpoint = open_checkpoint(note.encode(), verifier)
    index = int(number)
    if not verify_inclusion(leaf_hash(entry), index, checkpoint.size, path, checkpoint.root):
        raise Problem("PC6005", "the entry is not in the tree that was signed")
    cosigned = cosigned_by(quorum, verifier, note.encode(), now) if quorum else None
    times = cosigned.times if cosigned else {}
    return Proof(index=index, entry=entry, checkpoint=checkpoint, cosigned=times)


def _field(line: str, name: str) -> str:
    key, _, value = line.partition(" ")
    if key != name:
        raise Problem("PC6005", f"the proof has no {name} line where it belongs")
    return value
