"""The signed tree head of C2SP tlog-checkpoint: origin, size, root."""

from __future__ import annotations

import msgspec

from portcullis.audit.merkle import HASH_SIZE
from portcullis.audit.note import Signer, Verifier, decode64, encode64
from portcullis.core.errors import Problem

_MAX_DIGITS = 19


def is_size(text: str) -> bool:
    """Whether a text is a tree size: a decimal number below 2**63, without leading zeros."""
    if not (text.isascii() and text.isdigit()) or len(text) > _MAX_DIGITS:
        return False
    return str(int(text)) == text and int(text) < 2**63


class Checkpoint(msgspec.Struct, frozen=True):
    """What a log commits to: its first ``size`` entries have this Merkle root (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def sign(self, signer: Signer) -> bytes:
        """The checkpoint as a signed note."""
        return signer.sign(f"{self.origin}\n{self.size}\n{encode64(self.root)}\n")


def open_checkpoint(note: bytes, verifier: Verifier) -> Checkpoint:
    """Verify and parse. The origin must be the key's name. Raises Problem PC6005.

    Extension lines are refused: we never write any, and no monitor could check them.
    """
    lines = verifier.open(note).split("\n")
    if len(lines) != 4 or lines[3]:  # noqa: PLR2004 - origin, size, root, and the last newline
        raise Problem("PC6005", "the checkpoint has not exactly three lines")
    origin, size, root = lines[:3]
    if origin != verifier.name:
        raise Problem("PC6005", "the checkpoint is of another log")
    if not is_size(size):
        raise Problem("PC6005", "the checkpoint's size is not a decimal number")
    hashed = decode64(root)
    if len(hashed) != HASH_SIZE:
        raise Problem("PC6005", "the checkpoint's root is not 32 bytes")
    return Checkpoint(origin, int(size), hashed)
