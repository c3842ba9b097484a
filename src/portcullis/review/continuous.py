"""Evaluating all the time: what is new in the log is folded, and what changed is told.

The facts are saved with the position up to which they hold, and go on from there when they still
belong to the log. An export does not use what was saved: it folds the log anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from portcullis.audit.files import read, replace
from portcullis.audit.merkle import TILE_WIDTH
from portcullis.audit.note import Verifier
from portcullis.audit.quorum import Quorum
from portcullis.audit.tiles import TileReader
from portcullis.audit.verify import read_checkpoint
from portcullis.core.errors import Problem
from portcullis.review.deployment import Deployment
from portcullis.review.evaluate import Assessment, Open, assess, judge, opened
from portcullis.review.facts import REVISION, Facts
from portcullis.review.fold import Fold
from portcullis.review.mapping import concerned
from portcullis.review.subject import Review, Unknown, Verified

FACTS: Final = "facts.json"
_MAX_FACTS: Final = 64 * 2**20
_UNVERIFIED: Final = "log-unverified"
_NOT_ASKED: Final = Unknown("no framework asks")
VOUCHED: Final = timedelta(hours=1)
"""How old the witnesses' newest word may be; they are asked every minute."""
_REST: Final = 24
"""How many times as long as it worked a patient fold rests, bundle by bundle."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A gap that opened (``gap`` says why) or closed (None), and the rows that it concerns."""

    condition: str
    gap: Open | None
    controls: dict[str, tuple[str, ...]]


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """What one look found: each framework's state, and what changed since the last."""

    review: Review
    assessments: dict[str, Assessment]
    changes: tuple[Change, ...]


def folded(
    directory: Path,
    verifier: Verifier,
    facts: Facts,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    rest: Callable[[float], bool] | None = None,
    stopped: Callable[[Problem], None] | None = None,
) -> tuple[Facts, bytes]:
    """Go on folding up to the log's checkpoint; also that checkpoint's note.

    ``rest`` is called with seconds after each bundle, to sleep, and says whether to go on.
    ``stopped`` is told of an entry that cannot be read; the facts are those of the entries before.
    Without it that is raised, Problem PC6005, as it is for a checkpoint that is none; PC7005 when
    there is no log. What is read is not verified here.
    """
    checkpoint, note = read_checkpoint(directory, verifier)
    fold = Fold(facts, since=since, until=until)
    reader = TileReader(directory, checkpoint.size)
    start = facts.size
    try:
        for bundle in range(start // TILE_WIDTH, -(-checkpoint.size // TILE_WIDTH)):
            began = time.perf_counter()
            entries = reader.entries(bundle)
            for at in range(max(0, start - bundle * TILE_WIDTH), len(entries)):
                if entries[at]:
                    fold.add(entries[at])
                else:
                    fold.skip(reader.hashes(0, bundle)[at])
            if rest is not None and not rest(_REST * (time.perf_counter() - began)):
                break
    except Problem as problem:
        if stopped is None:
            raise
        stopped(problem)
    return fold.facts(), note


def witnessed(
    quorum: Quorum | None, note: bytes, at: datetime, until: datetime | None = None
) -> bool | None:
    """Whether a checkpoint's note has its quorum; None when nobody is asked to witness.

    ``at`` is now. A quorum that vouched more than an hour before (or before ``until``, if that was
    earlier) counts no more: what the log holds since is its own word alone.
    """
    if quorum is None or not quorum.quorum:
        return None
    try:
        vouched = quorum.met(note, at.timestamp()).time
    except Problem:
        return False  # a cosignature that does not verify
    end = min(until, at) if until else at
    return vouched is not None and vouched >= (end - VOUCHED).timestamp()


def saved(place: Path, directory: Path, verifier: Verifier) -> Facts:
    """The facts that were saved, if they are facts of this log; else none."""
    origin = verifier.name
    try:
        found = msgspec.json.decode(read(place, _MAX_FACTS), type=Facts)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Facts(origin=origin)
    if (found.origin, found.revision) != (origin, REVISION) or found.size < 1:
        return Facts(origin=origin)
    checkpoint, _ = read_checkpoint(directory, verifier)
    if found.size > checkpoint.size:
        return Facts(origin=origin)
    last = found.size - 1
    bundle, at = divmod(last, TILE_WIDTH)
    reader = TileReader(directory, checkpoint.size)
    leaves = reader.leaves(bundle, reader.entries(bundle))
    return found if leaves[at] == found.tail else Facts(origin=origin)


def save(place: Path, facts: Facts) -> None:
    """Save facts, all of them or nothing. OSError when that cannot be done."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace(place, msgspec.json.encode(facts), mode=0o600)


class Watch:
    """Follows one log. It blocks: use it from one thread at a time, off the loop.

    A gap is new when neither this watch nor the log has called it open before.
    """

    def __init__(
        self,
        directory: Path,
        verifier: Verifier,
        place: Path,
        frameworks: Iterable[str],
        quorum: Quorum | None = None,
    ) -> None:
        self._directory = directory
        self._verifier = verifier
        self._place = place
        self._frameworks = tuple(frameworks)
        self._quorum = quorum
        self._facts: Facts | None = None
        self._open: frozenset[str] = frozenset()
        self._begun = False
        self._broken = False
        self.verified: Verified | None = None

    @property
    def doubted(self) -> bool:
        """Whether the log is called unverified, and only verifying it can tell."""
        return _UNVERIFIED in self._open and self.verified is None

    def look(
        self,
        deployment: Deployment,
        at: datetime,
        rest: Callable[[float], bool],
        *,
        anew: bool = False,
    ) -> Outlook | None:
        """Fold what is new and evaluate; None when ``rest`` said to stop.

        With ``anew`` the log is folded from its beginning: whoever can write the file of facts
        has no say in what is found then. A log that cannot be read to its end does not verify;
        the rest is evaluated as far as it goes. Raises Problem PC6005 for a checkpoint that is
        none, PC7005 for no log.
        """
        facts = Facts(origin=self._verifier.name) if anew else self._known()
        going = True

        def patient(seconds: float) -> bool:
            nonlocal going
            going = rest(seconds)
            return going

        broken: list[Problem] = []
        new, note = folded(
            self._directory, self._verifier, facts, rest=patient, stopped=broken.append
        )
        self._doubt(broken, new.size, at)
        if new.size != facts.size:
            save(self._place, new)
        self._facts = new
        if not going:
            return None
        review = Review(
            facts=new,
            deployment=deployment,
            at=at,
            witnessed=witnessed(self._quorum, note, at),
            verified=self.verified,
        )
        judged = judge(review, self._frameworks)
        now = opened(judged)
        before = self._open if self._begun else frozenset(new.announced)
        self._begun = True
        unsaid = {name for name in before if isinstance(judged.get(name, _NOT_ASKED), Unknown)}
        self._open = frozenset(now) | unsaid  # what cannot be evaluated stays as it was
        return Outlook(
            review=review,
            assessments={name: assess(review, name, judged) for name in self._frameworks},
            changes=tuple(
                Change(
                    condition=name, gap=now.get(name), controls=concerned(name, self._frameworks)
                )
                for name in sorted(before ^ self._open)
            ),
        )

    def _known(self) -> Facts:
        """The facts to go on from."""
        if self._facts is not None:
            return self._facts
        try:
            return saved(self._place, self._directory, self._verifier)
        except Problem:  # what they end with cannot be read: whatever is wrong is found by folding
            return Facts(origin=self._verifier.name)

    def _doubt(self, broken: Sequence[Problem], size: int, at: datetime) -> None:
        """A log that breaks off does not verify; one that can be read again may."""
        if broken:
            if self.verified is None or self.verified.ok:
                reasons = tuple(problem.detail for problem in broken)
                self.verified = Verified(at=at, ok=False, size=size, reasons=reasons)
        elif self._broken and self.verified is not None and not self.verified.ok:
            self.verified = None
        self._broken = bool(broken)
