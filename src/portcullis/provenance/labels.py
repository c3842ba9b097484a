"""What a session has learned: which values are trusted for what, and how confidential it is."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

from portcullis.core.containment import LEVELS, ArgumentRole, Confidentiality

MAX_TRUSTED: Final = 4096
MAX_APPROVED: Final = 512
_BYTES: Final = 12

Digest: TypeAlias = bytes
"""What a value is kept as: its digest, so that labels are small and hold no content."""


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """A session's labels: values that only ever merge upward.

    ``trusted`` are values of fields labelled trusted, each for one role and one clearance;
    ``approved`` those that a human approved, each for one role; ``calls`` are the approvals of
    calls. All are bounded, and what does not fit is not trusted. ``confidentiality`` is the highest
    of all that was read.
    """

    trusted: frozenset[Digest] = frozenset()
    approved: frozenset[Digest] = frozenset()
    calls: frozenset[Digest] = frozenset()
    confidentiality: Confidentiality = Confidentiality.PUBLIC

    def merge(self, other: Labels) -> Labels:
        """Both together: commutative, associative and idempotent, whatever the bounds."""
        return Labels(
            trusted=_bounded(self.trusted | other.trusted, MAX_TRUSTED),
            approved=_bounded(self.approved | other.approved, MAX_APPROVED),
            calls=_bounded(self.calls | other.calls, MAX_APPROVED),
            confidentiality=max(
                self.confidentiality, other.confidentiality, key=LEVELS.__getitem__
            ),
        )

    def of_record(self, most: int) -> Labels:
        """What a record keeps of it: the level, and so many of the trusted values."""
        return Labels(trusted=_bounded(self.trusted, most), confidentiality=self.confidentiality)

    def trusts(
        self, role: ArgumentRole, keys: Iterable[str], clearance: Confidentiality | None = None
    ) -> bool:
        """Whether a value of any of these keys came out of a field trusted for the role.

        With a clearance, only of one that is cleared for so much.
        """
        if not self.trusted:
            return False
        low = 0 if clearance is None else LEVELS[clearance]
        levels = [level for level, rank in LEVELS.items() if rank >= low]
        return any(_trusted(role, level, key) in self.trusted for key in keys for level in levels)

    def cleared(self, role: ArgumentRole, key: str) -> Confidentiality | None:
        """The highest level for which a value of this key is trusted in a role, if it is."""
        for level in reversed(Confidentiality):
            if _trusted(role, level, key) in self.trusted:
                return level
        return None

    def links(self, keys: Iterable[str]) -> bool:
        """Whether any of these stood as a link in a field whose links may be read."""
        return bool(self.trusted) and any(_linked(key) in self.trusted for key in keys)

    def approves(self, role: ArgumentRole, keys: Iterable[str]) -> bool:
        """Whether a human approved a value of any of these keys in that role."""
        return bool(self.approved) and any(_approved(role, key) in self.approved for key in keys)


def reading(level: Confidentiality) -> Labels:
    """The labels of having read something so confidential."""
    return Labels(confidentiality=level)


def trusting(role: ArgumentRole, keys: Iterable[str], clearance: Confidentiality) -> Labels:
    """The labels of having read values in a field trusted for the role."""
    return Labels(trusted=frozenset(_trusted(role, clearance, key) for key in keys))


def linking(keys: Iterable[str]) -> Labels:
    """The labels of having read a text whose links may be read."""
    return Labels(trusted=frozenset(map(_linked, keys)))


def approving(role: ArgumentRole, keys: Iterable[str]) -> Labels:
    """The labels of a human's approval of values in that role."""
    return Labels(approved=frozenset(_approved(role, key) for key in keys))


def calling(approval: str) -> Labels:
    """The labels of a human's approval of a call as such: that of this id, which counts once."""
    return Labels(calls=frozenset({_digest(approval)}))


def _bounded(found: frozenset[Digest], most: int) -> frozenset[Digest]:
    """The smallest so many: whatever was merged first, the same are left."""
    return found if len(found) <= most else frozenset(heapq.nsmallest(most, found))


def _trusted(role: ArgumentRole, clearance: Confidentiality, key: str) -> Digest:
    return _digest(f"{role.value}\0{clearance.value}\0{key}")


def _linked(key: str) -> Digest:
    return _digest(f"link\0{key}")


def _approved(role: ArgumentRole, key: str) -> Digest:
    return _digest(f"{role.value}\0{key}")


def _digest(text: str) -> Digest:
    raw = text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, digest_size=_BYTES).digest()
