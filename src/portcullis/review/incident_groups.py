"""Findings as groups that a human can judge: a kind, a tool and a code in one log, and how often.

However many there are, nothing is lost: of one kind at most so many groups have their own line,
and all others are one more. Whoever makes noise does not push anything out of sight but noise of
the same kind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from portcullis.core.incident import Drawn, Finding, digest_of
from portcullis.review.incident_words import short

KINDS: Final[dict[str, str]] = {
    "denied": "was refused",
    "held": "was held for a human to decide",
    "found": "inspection found something",
    "unreviewed": "a risky call went ahead, and no human looked at it before or since",
    "approved": "a human let it through",
    "new_tool": "was never used before",
    "new_value": "a value was never used before",
    "other_host": "its credentials were used from another host",
    "read_by_others": "another agent may have come by what it wrote, or acted for it",
    "pruned": "the log has these entries no more",
    "unread": "there is more than is looked at",
}
"""What a human has to judge."""
EACH: Final = 60
"""Groups of one kind that have a line of their own, in one log."""
MOST: Final = 1000
"""Groups that have a line of their own, of all kinds and logs."""
OTHERS: Final = "(others)"
"""The name of the group that stands for all others of its kind."""
_ID: Final = 12


class Groups:
    """Findings on their way."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str, str], Finding] = {}
        self._of_kind: dict[tuple[str, str], int] = {}
        self._beyond: dict[tuple[str, str], set[str]] = {}

    def add(
        self,
        kind: str,
        log: str,
        number: int,
        at: float,
        *,
        name: str = "",
        code: str = "",
        last: int | None = None,
        last_at: float | None = None,
        count: int = 1,
    ) -> None:
        """One event more, or ``count`` from this to ``last``."""
        name, code = short(name), short(code)
        key = (kind, name, code, log)
        if key not in self._found and not self._room(kind, log):
            self._beyond.setdefault((kind, log), set()).add(_id(key))
            name, code = OTHERS, ""
            key = (kind, name, code, log)
        known = self._found.get(key)
        if known is None:
            self._of_kind[kind, log] = self._of_kind.get((kind, log), 0) + 1
            known = Finding(
                id=_id(key),
                kind=kind,
                log=log,
                first=number,
                last=number,
                first_at=at,
                last_at=at,
                text="",
                name=name,
                code=code,
                count=0,
            )
        first = min((known.first_at, known.first), (at, number))
        newest = max(
            (known.last_at, known.last),
            (at if last_at is None else last_at, number if last is None else last),
        )
        self._found[key] = msgspec.structs.replace(
            known,
            first_at=first[0],
            first=first[1],
            last_at=newest[0],
            last=newest[1],
            count=known.count + count,
        )

    def _room(self, kind: str, log: str) -> bool:
        return self._of_kind.get((kind, log), 0) < EACH and len(self._found) < MOST

    def drawn(self, sizes: Mapping[str, int]) -> Drawn:
        """All of them, by kind and then in order of time, with what they say."""
        kinds = {kind: rank for rank, kind in enumerate(KINDS)}
        found = sorted(
            self._found.values(),
            key=lambda one: (kinds[one.kind], one.first_at, one.log, one.first, one.id),
        )
        told = tuple(msgspec.structs.replace(one, text=self._text(one)) for one in found)
        return Drawn(
            digest=digest_of(told),
            findings=told,
            sizes=dict(sorted(sizes.items())),
            beyond=sum(map(len, self._beyond.values())),
        )

    def _text(self, one: Finding) -> str:
        said = KINDS[one.kind]
        what = one.name
        if one.name == OTHERS:
            what = f"{len(self._beyond.get((one.kind, one.log), ()))} further groups of this kind"
        if one.code:
            what = f"{what} ({one.code})" if what else one.code
        times = "once" if one.count == 1 else f"{one.count} times"
        return f"{what}: {said}, {times}" if what else f"{said}, {times}"


def _id(key: tuple[str, str, str, str]) -> str:
    return hashlib.sha256(msgspec.json.encode(key)).hexdigest()[:_ID]
