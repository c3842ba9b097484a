"""Replaying the log against two policies: which decisions would be others under the new one.

What the log does not tell is never guessed. Where a decision goes by an argument whose value is
only committed to, both cases are looked at (its bounds hold, or they do not); where they come to
different ends, the call is *undetermined*, and is counted as such. What policy said at the time
settles it when it is the old policy that said so, and so does a new bound that is no narrower.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import islice, product
from typing import Any, Final

import msgspec

from portcullis.core.call import Action
from portcullis.core.event import Event
from portcullis.policy.model import Bound
from portcullis.review.loosened import implied
from portcullis.review.replay_asked import Asked, Contents, Restoring, filled
from portcullis.review.replay_side import Decided, Side, witnesses

_BATCH: Final = 512
_MOST_GROUPS: Final = 10_000
_SAMPLES: Final = 5
_VIOLATION: Final = None
"""A value that no bound holds."""
_ELSEWHERE: Final = "\x00"
"""A row scope in which no value is."""
_BOUNDS: Final = frozenset({"PC3004", "PC3012"})
_OUT: Final = Decided(allowed=False, code="PC3004 or PC3012")
"""Out of bounds; of which, depends on what is not known."""
_REFUSED: Final = Decided(allowed=False, code="?")
"""A refusal that cannot be said more exactly."""


class Kind(StrEnum):
    """What became of a decision."""

    SAME = "same"
    CHANGED = "changed"
    UNDETERMINED = "undetermined"


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """One call under both policies; the decisions are those that are possible, in order.

    ``recorded`` is what was decided at the time, by whatever check.
    """

    kind: Kind
    id: str
    time: datetime
    agent: str
    session: str
    action: str
    target: str
    old: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


class Group(msgspec.Struct, kw_only=True):
    """Calls of one agent's of one thing whose decision changes alike."""

    kind: Kind
    agent: str
    action: str
    target: str
    old: tuple[str, ...]
    new: tuple[str, ...]
    count: int = 0
    first: datetime | None = None
    last: datetime | None = None
    events: list[str] = []
    unknown: tuple[str, ...] = ()


class Summary(msgspec.Struct, kw_only=True):
    """What a replay found. ``exact`` decisions were replayed with all that they go by.

    ``proven`` are those of which the two policies say the same whatever was asked, ``refused``
    those that something refused before policy was asked. ``left_out`` counts changes that belong
    to no group, because there are too many.
    """

    decisions: int = 0
    same: int = 0
    changed: int = 0
    undetermined: int = 0
    proven: int = 0
    exact: int = 0
    refused: int = 0
    left_out: int = 0
    first: datetime | None = None
    last: datetime | None = None
    groups: list[Group] = []


class Replay:
    """Compares two policies over a stream of events, in bounded memory."""

    def __init__(
        self,
        old: Side,
        new: Side,
        *,
        since: datetime | None = None,
        contents: Contents | None = None,
        agents: frozenset[str] = frozenset(),
    ) -> None:
        self._old, self._new = old, new
        self._restoring = Restoring(since)
        self._contents = contents
        self._agents = agents
        self._groups: dict[tuple[Any, ...], Group] = {}
        self.summary = Summary(groups=[])

    def run(self, events: Iterable[Event]) -> Iterator[Replayed]:
        """Each decision that changes, or that may; the summary is whole once this is exhausted."""
        restored = filter(None, map(self._restoring.take, events))
        wanted = (one for one in restored if not self._agents or one.agent in self._agents)
        while some := tuple(islice(wanted, _BATCH)):
            yield from self._compare(some)
        self.summary.groups = sorted(
            self._groups.values(), key=lambda one: (one.kind, one.agent, one.target, one.new)
        )

    def _compare(self, some: tuple[Asked, ...]) -> Iterator[Replayed]:
        """One policy after the other: a thread holds few of them ready."""
        told = self.summary
        differing: list[Asked] = []
        for asked in some:
            told.decisions += 1
            told.first, told.last = told.first or asked.time, asked.time
            if asked.allowed is None:
                told.refused += 1
                told.same += 1
            elif self._old.slice(asked) == self._new.slice(asked):
                told.proven += 1
                told.same += 1
            else:
                differing.append(asked if self._contents is None else self._filled(asked))
        cases = [_Cases.of(asked, self._old, self._new) for asked in differing]
        olds = [_asking(self._old, one.asked, one.old, one.opaque[0]) for one in cases]
        news = [_asking(self._new, one.asked, one.new, one.opaque[1]) for one in cases]
        for one, old, new in zip(cases, olds, news, strict=True):
            yield from self._judge(one, old, new)

    def _filled(self, asked: Asked) -> Asked:
        """With what is kept of its content, where the decision may go by that."""
        needed = self._old.bounds(asked) or self._new.bounds(asked) or self._new.opaque(asked)
        return filled(asked, self._contents) if needed and self._contents else asked

    def _judge(self, one: _Cases, old: list[Decided], new: list[Decided]) -> Iterator[Replayed]:
        told, asked = self.summary, one.asked
        told.exact += one.exact
        pairs = one.pairs(old, new)
        same = [was == now for was, now in pairs]
        if all(same):
            told.same += 1
            return
        certain = not any(same)
        told.changed += certain
        told.undetermined += not certain
        found = Replayed(
            kind=Kind.CHANGED if certain else Kind.UNDETERMINED,
            id=asked.id,
            time=asked.time,
            agent=asked.agent,
            session="" if asked.context.session is None else asked.context.session.id,
            action=asked.call.action,
            target=asked.target,
            old=tuple(dict.fromkeys(str(was) for was, _ in pairs)),
            new=tuple(dict.fromkeys(str(now) for _, now in pairs)),
            unknown=tuple(sorted(asked.unknown)),
        )
        self._group(found)
        yield found

    def _group(self, found: Replayed) -> None:
        key = (found.kind, found.agent, found.action, found.target, found.old, found.new)
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= _MOST_GROUPS:
                self.summary.left_out += 1
                return
            group = self._groups[key] = Group(
                kind=found.kind,
                agent=found.agent,
                action=found.action,
                target=found.target,
                old=found.old,
                new=found.new,
                events=[],
                unknown=found.unknown,
            )
        group.count += 1
        group.first, group.last = group.first or found.time, found.time
        if len(group.events) < _SAMPLES:
            group.events.append(found.id)


class _Cases(msgspec.Struct, frozen=True):
    """The cases of one call: with values that hold its bounds, and with values that do not.

    ``old`` and ``new`` are what to ask either policy. ``opaque`` says of either policy that
    there may be more cases.
    ``tied`` says that the bounds hold in both policies or in neither, ``then`` what the old policy
    said of just this call, ``holds`` that the old one let nothing pass that breaks a new bound.
    """

    asked: Asked
    exact: bool
    opaque: tuple[bool, bool]
    old: tuple[_Values, ...]
    new: tuple[_Values, ...]
    tied: bool
    then: bool | None
    holds: bool

    @classmethod
    def of(cls, asked: Asked, old: Side, new: Side) -> _Cases:
        before, after = old.bounds(asked), new.bounds(asked)
        unnamed = asked.hidden or (asked.call.action is Action.EGRESS and bool(asked.unknown))
        opaque = (unnamed or old.opaque(asked), unnamed or new.opaque(asked))
        exact = not (before or after or any(opaque))
        was = old.tool(asked.target)
        return cls(
            asked,
            exact,
            opaque,
            _values(asked, before, exact=exact),
            _values(asked, after, exact=exact),
            {_terms(one) for one in before} == {_terms(one) for one in after},
            asked.allowed if asked.policy == old.digest else None,
            all(was is not None and implied(one, was) for one in after),
        )

    def pairs(self, old: list[Decided], new: list[Decided]) -> list[tuple[Decided, Decided]]:
        """What may have been said together: by the old policy, and by the new."""
        if any(self.opaque):
            return list(dict.fromkeys(product(old, new)))
        if self.exact or (self.tied and self.then is None):
            return list(zip(old, new, strict=True))
        held, broken = old
        if self.then and held.allowed:
            return [(held, one) for one in (new[:1] if self.tied or self.holds else new)]
        if self.then is False and held.allowed and not broken.allowed:
            return [(broken, one) for one in (new[1:] if self.tied else new)]
        if self.tied:
            return list(zip(old, new, strict=True))
        return list(product(old, new))


def _asking(
    side: Side,
    asked: Asked,
    values: tuple[_Values, ...],
    opaque: bool,  # noqa: FBT001
) -> list[Decided]:
    """What a policy says in each case; of several, which bound breaks is not told.

    Where it is ``opaque``, what it would allow it may refuse as well.
    """
    found = [side.decide(asked, one.arguments, one.subject, at_best=opaque) for one in values]
    told = found if len(found) == 1 else [_OUT if one.code in _BOUNDS else one for one in found]
    return [*told, _REFUSED] if opaque and any(one.allowed for one in told) else told


def held(side: Side, asked: Asked, own: Mapping[str, Sequence[str]]) -> Decided:
    """What a policy says to a call whose unknown values hold its bounds.

    ``own`` says, by argument, what of the session's its value is (``session.user`` and so on).
    """
    values = _values(asked, side.bounds(asked), exact=False)[0]
    subject = dict(values.subject)
    for name, paths in own.items():
        for path in paths:
            member = path.removeprefix("session.").removeprefix("subject.")
            subject["" if path == "session.user" else member] = asked.call.arguments[name]
    return side.decide(asked, values.arguments, subject)


class _Values(msgspec.Struct, frozen=True):
    """The arguments to ask with, and the session's row scope; its user is under no name."""

    arguments: dict[str, Any]
    subject: dict[str, Any]


def _values(asked: Asked, bounds: tuple[Bound, ...], *, exact: bool) -> tuple[_Values, ...]:
    """Values that hold these bounds, then values that break them."""
    known = asked.call.arguments
    if exact:
        return (_Values(known, {}),)
    held: dict[str, Any] = dict.fromkeys(asked.unknown, "")
    held |= witnesses(tuple(one for one in bounds if not one.session))
    subject: dict[str, Any] = {}
    for bound in bounds:
        if bound.session:
            name = bound.session[1] if len(bound.session) > 1 else ""
            if bound.argument in asked.unknown:
                held[bound.argument] = subject.setdefault(name, "-")
            else:
                subject[name] = known.get(bound.argument)
    broken = dict.fromkeys(asked.unknown, _VIOLATION)
    return (
        _Values({**known, **{name: held[name] for name in asked.unknown}}, subject),
        _Values({**known, **broken}, dict.fromkeys(subject, _ELSEWHERE)),
    )


def _terms(bound: Bound) -> tuple[str, str, str, tuple[str, ...]]:
    return bound.argument, bound.kind, repr(bound.value), bound.session
