"""Evaluating all the time: what is new in the logs is folded, and what changed is told.

The facts are saved with the positions up to which they hold, and go on from there when they still
belong to the logs. An export does not use what was saved: it folds the logs anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from portcullis.audit.files import read, replace
from portcullis.audit.quorum import Quorum
from portcullis.audit.verify import read_checkpoint
from portcullis.core.errors import Problem
from portcullis.review.deployment import Deployment
from portcullis.review.evaluate import Assessment, Open, assess, judge, opened
from portcullis.review.facts import REVISION, Facts
from portcullis.review.logs import Logs, folded, require_same
from portcullis.review.mapping import concerned
from portcullis.review.subject import Review, Unknown, Verified

FACTS: Final = "facts.json"
_MAX_FACTS: Final = 64 * 2**20
_UNVERIFIED: Final = "log-unverified"
_NOT_ASKED: Final = Unknown("no framework asks")
VOUCHED: Final = timedelta(hours=1)
"""How old the witnesses' newest word may be; they are asked every minute."""


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


def unwitnessed(
    quorum: Quorum | None,
    logs: Logs,
    facts: Facts,
    notes: Mapping[str, bytes],
    at: datetime,
    until: datetime | None = None,
) -> tuple[str, ...] | None:
    """The logs for which the quorum has not vouched; None when nobody is asked to witness.

    For a log that rests its newest entry counts in place of now: nobody has it cosigned any more.
    """
    if quorum is None or not quorum.quorum:
        return None
    found = []
    for log in logs.each:
        newest = facts.logs[log.name].newest if log.resting else None
        end = min(filter(None, (until, newest)), default=None)
        if not witnessed(quorum, notes.get(log.name, b""), at, end):
            found.append(log.name)
    return tuple(sorted(found))


def saved(place: Path, logs: Logs) -> Facts:
    """The facts that were saved, if they are facts of these logs; else none.

    They are when they fit the log of who rules, and know others by the names of their keys. Logs
    that they do not know yet may have come; of those that are gone, or are others than they were,
    they are what is left. Raises Problem PC6005 for a log that cannot be read, PC7005 for none.
    """
    nothing = Facts(origin=logs.own.verifier.name)
    try:
        found = msgspec.json.decode(read(place, _MAX_FACTS), type=Facts)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return nothing
    if found.revision != REVISION or not _fits(found, logs):
        return nothing
    return msgspec.structs.replace(found, origin=nothing.origin)


def _fits(facts: Facts, logs: Logs) -> bool:
    """Whether facts are of these logs, and end with an entry of the one of who rules."""
    for log in logs.each:
        place = facts.logs.get(log.name)
        if place is not None and (
            place.origin != log.verifier.name
            or place.size < 0
            or (not place.size and place.tail != b"")
        ):
            return False
    own = facts.logs.get(logs.own.name)
    if own is not None:
        checkpoint, _ = read_checkpoint(logs.own.place, logs.own.verifier)
        with contextlib.suppress(Problem):
            require_same(logs.own, checkpoint, own)
            return True
        return False
    return True


def save(place: Path, facts: Facts) -> None:
    """Save facts, all of them or nothing. OSError when that cannot be done."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace(place, msgspec.json.encode(facts), mode=0o600)


class _Read(NamedTuple):
    """What reading the logs found, which of them broke off, and whether it went to its end."""

    facts: Facts
    notes: dict[str, bytes]
    broken: tuple[str, ...]
    going: bool


def _less(new: Facts, known: Facts) -> bool:
    """Whether less was read of a log, anew, than was known of it."""
    return any(
        name in known.logs and at.size < known.logs[name].size for name, at in new.logs.items()
    )


class Watch:
    """Follows a deployment's logs. It blocks: use it from one thread at a time, off the loop.

    ``find`` says which there are now, and is told whether to leave out what has only begun. A gap
    is new when neither this watch nor the log of who rules has called it open before.
    """

    def __init__(
        self,
        find: Callable[[bool], Logs],
        place: Path,
        frameworks: Iterable[str],
        quorum: Quorum | None = None,
    ) -> None:
        self._find = find
        self._place = place
        self._frameworks = tuple(frameworks)
        self._quorum = quorum
        self._facts: Facts | None = None
        self._late = 0
        self._open: frozenset[str] = frozenset()
        self._begun = False
        self._broken: tuple[str, ...] = ()
        self.verified: Verified | None = None

    @property
    def doubted(self) -> bool:
        """Whether a log is called unverified, and only verifying them can tell."""
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

        With ``anew`` the logs are folded from their beginning: whoever can write the file of facts
        has no say in what is found then. So they are when something of one log came to be known
        too late for what was judged of another. A log that cannot be read to its end does not
        verify; the rest is evaluated as far as it goes. Raises Problem PC6005 for a checkpoint of
        the log of who rules that is none, PC7005 for no such log.
        """
        logs = self._find(not anew)
        known = self._known(logs)
        anew = anew or known.late > self._late
        done = self._folded(logs, known, rest, anew=anew)
        if anew and done.going and _less(done.facts, known):
            anew = False  # what was known is not given up for a log that hides it
            done = self._folded(logs, known, rest)
        new = done.facts
        self._doubt(done.broken, new.size, at)
        if done.going or not anew:
            if new != known:
                save(self._place, new)
            self._facts = new
        if not done.going:
            return None
        if anew:
            self._late = new.late
        elif new.late > self._late and not done.broken:
            return self.look(deployment, at, rest, anew=True)
        there = {log.name for log in logs.each}
        review = Review(
            facts=new,
            deployment=deployment,
            at=at,
            unwitnessed=unwitnessed(self._quorum, logs, new, done.notes, at),
            missing=tuple(sorted({*logs.missing, *(new.logs.keys() - there)})),
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

    @staticmethod
    def _folded(
        logs: Logs, known: Facts, rest: Callable[[float], bool], *, anew: bool = False
    ) -> _Read:
        """Go on from what is known, or begin anew; the logs have to hold what was known of them."""
        going, broken = True, list[str]()

        def patient(seconds: float) -> bool:
            nonlocal going
            going = rest(seconds)
            return going

        def stopped(name: str, problem: Problem) -> None:
            broken.append(f"{name}: {problem.detail}")

        facts = Facts(origin=logs.own.verifier.name) if anew else known
        new, notes = folded(logs, facts, rest=patient, stopped=stopped, known=known.logs)
        return _Read(new, notes, tuple(broken), going)

    def _known(self, logs: Logs) -> Facts:
        """The facts to go on from."""
        if self._facts is not None:
            return self._facts
        try:
            return saved(self._place, logs)
        except Problem:  # what they end with cannot be read: whatever is wrong is found by folding
            return Facts(origin=logs.own.verifier.name)

    def _doubt(self, broken: Sequence[str], size: int, at: datetime) -> None:
        """Logs that break off do not verify; when they can be read again they may."""
        before, self._broken = self._broken, tuple(broken)
        if broken:
            if self.verified is None or self.verified.ok or before not in {(), self._broken}:
                self.verified = Verified(at=at, ok=False, size=size, reasons=self._broken)
        elif before and self.verified is not None and not self.verified.ok:
            self.verified = None
