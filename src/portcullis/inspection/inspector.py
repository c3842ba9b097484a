"""All detectors over the texts of a call: one pass of the rules, and what each text hides."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.inspection import (
    Category,
    InjectionScore,
    InjectionVerdict,
    Leak,
    Match,
    Source,
    Text,
)
from portcullis.inspection.ner import Recogniser
from portcullis.inspection.normalise import FLOOD, Layers, bare, layers, plain
from portcullis.inspection.reading import (
    NOTHING,
    CanaryFinder,
    Hidden,
    Reading,
    Scanner,
    Scorer,
    Wanted,
)

_RANK: Final = {verdict: rank for rank, verdict in enumerate(InjectionVerdict)}
_LOCATED: Final = 1 << 14
"""Characters of a text in which what normalising brought to light is traced to its place."""
_MOST_LOCATED: Final = 8
_TOGETHER: Final = 1 << 16
"""Characters of texts that are scanned as one: what may be found in them is bounded for each."""
_MOST_NAMES: Final = 1024
"""Hosts' names of which it is remembered what was seen in them."""
MAX_FOUND: Final = 1 << 15
"""Most matches in all texts of one call."""
MAX_SECONDS: Final = 1.0
"""Most processor time for the texts of one call, but for the last ones."""


class _View(msgspec.Struct, frozen=True):
    """A text that stands for the text at ``index``; ``layer`` is empty for the text itself."""

    index: int
    layer: str
    text: str


class Inspector:
    """Reads texts. Safe to use from several threads when its parts are."""

    def __init__(
        self,
        patterns: Scanner,
        injection: Scorer,
        canaries: CanaryFinder | None = None,
        recognisers: Sequence[Recogniser] = (),
        spent: Callable[[], float] = time.thread_time,
    ) -> None:
        self._patterns = patterns
        self._injection = injection
        self._canaries = canaries
        self._recognisers = tuple(recognisers)
        self._spent = spent
        self._names: dict[Any, tuple[Reading, tuple[_View, ...]]] = {}

    @property
    def entities(self) -> frozenset[str]:
        """All that the rules can find."""
        return self._patterns.entities

    @property
    def recognises_more(self) -> bool:
        """Whether there are recognisers, which may find entities that no rule names."""
        return bool(self._recognisers)

    def read(self, texts: Sequence[Text], wanted: Wanted) -> list[Reading]:
        """One reading for each text. Raises Problem PC3025 when there is too much to find.

        So much may be found in so much text, whatever the size of the call, within hard limits: a
        conversation that grew by what passed goes on to pass.
        """
        whole = "\n".join([text.text for text in texts])
        if len(whole) <= _TOGETHER and bare(whole):
            return self._bare(texts, whole, wanted)
        began = self._spent()
        layered = [Layers(text.text) if text.number else layers(text.text) for text in texts]
        if len(whole) <= _TOGETHER and all(map(_hides_nothing, texts, layered)):
            return self._bare(texts, whole, wanted)
        views = [
            view
            for index, (text, found) in enumerate(zip(texts, layered, strict=True))
            for view in _views(index, text.text, found)
        ]
        scanned = self._scanned(views, texts, wanted, began)
        seen: list[list[tuple[_View, Sequence[Match]]]] = [[] for _ in texts]
        for view, matches in zip(views, scanned, strict=True):
            seen[view.index].append((view, matches))
        return [
            self._reading(text, found.tricks, mine, wanted)
            for text, found, mine in zip(texts, layered, seen, strict=True)
        ]

    def _bare(self, texts: Sequence[Text], whole: str, wanted: Wanted) -> list[Reading]:
        """The readings of texts that hide nothing: few texts do, and to see that once is cheap.

        In most of these nothing is found either.
        """
        rules = self._patterns if wanted.entities is None else self._patterns.only(wanted.entities)
        shown = ["" if text.sealed else text.text for text in texts]
        scanned = rules.scan(shown, [text.key for text in texts])
        if sum(map(len, scanned)) > MAX_FOUND:
            raise Problem("PC3025", f"more than {MAX_FOUND} findings")
        finder = self._canaries if wanted.canaries else None
        alert = bool(self._recognisers) or not (finder is None or finder.absent(whole))
        return [
            self._reading(text, (), [(_View(index, "", text.text), matches)], wanted)
            if matches or alert or text.source in wanted.injection
            else NOTHING
            for index, (text, matches) in enumerate(zip(texts, scanned, strict=True))
        ]

    def name(self, text: Text, wanted: Wanted) -> Reading:
        """As ``read`` of one host's name, which is asked for again and again.

        What the rules see in it is remembered; canaries, of which there are new ones, are not.
        """
        found, key = self._names, (text, wanted.entities, wanted.injection, wanted.recognised)
        known = found.pop(key, None)
        if known is None:
            reading = self.read([text], msgspec.structs.replace(wanted, canaries=False))[0]
            known = reading, tuple(_views(0, text.text, layers(text.text)))
            if len(found) >= _MOST_NAMES:
                found.pop(next(iter(found), key), None)
        found[key] = known  # the newest
        reading, views = known
        leaks = self._leaks(views, wanted)
        return msgspec.structs.replace(reading, leaks=leaks) if leaks else reading

    def _leaks(self, views: Iterable[_View], wanted: Wanted) -> tuple[Leak, ...]:
        if self._canaries is None or not wanted.canaries:
            return ()
        found = (leak for view in views for leak in self._canaries.find(view.text, wanted.session))
        return tuple({leak.place: leak for leak in found}.values())

    def _scanned(
        self, views: Sequence[_View], texts: Sequence[Text], wanted: Wanted, began: float
    ) -> Sequence[Sequence[Match]]:
        rules = self._patterns if wanted.entities is None else self._patterns.only(wanted.entities)
        keys = [texts[view.index].key if view.layer in {"", _NORMALISED} else "" for view in views]
        shown = ["" if texts[view.index].sealed else view.text for view in views]
        found: list[Sequence[Match]] = []
        count = 0
        for low, high in _groups(shown):
            if low and self._spent() - began > MAX_SECONDS:
                raise Problem("PC3025", f"to read it takes more than {MAX_SECONDS:g} s")
            found += rules.scan(shown[low:high], keys[low:high])
            count += sum(map(len, found[low:high]))
            if count > MAX_FOUND:
                raise Problem("PC3025", f"more than {MAX_FOUND} findings")
        return found

    def _revealed(
        self,
        text: Text,
        matches: tuple[Match, ...],
        seen: Sequence[tuple[_View, Sequence[Match]]],
        wanted: Wanted,
    ) -> tuple[tuple[Match, ...], tuple[Hidden, ...]]:
        """What the views show besides.

        Where something is hidden that also stands in the text, what stands there is blanked out
        and the rest read once more: nothing hides behind a copy of itself.
        """
        found = _brought_to_light(text.text, matches, seen)
        if not found.copied:
            return found.matches, tuple(found.hidden.values())
        blanked = msgspec.structs.replace(text, text=_blanked(text.text, found.matches))
        views = _views(0, blanked.text, layers(blanked.text))[1:]
        scanned = self._scanned(views, [blanked], wanted, self._spent())
        more = _brought_to_light(blanked.text, (), list(zip(views, scanned, strict=True)))
        hidden = found.hidden | more.hidden | more.copied
        return _sorted([*found.matches, *more.matches]), tuple(hidden.values())

    def _reading(
        self,
        text: Text,
        tricks: tuple[str, ...],
        seen: Sequence[tuple[_View, Sequence[Match]]],
        wanted: Wanted,
    ) -> Reading:
        views = [view for view, _ in seen]
        matches = self._recognised(text, seen[0][1], wanted)
        hidden: tuple[Hidden, ...] = ()
        if len(seen) > 1:
            matches, hidden = self._revealed(text, matches, seen[1:], wanted)
        injection = None
        if text.source in wanted.injection and not (text.number or text.sealed):
            injection = self._scored(text.source, views, flooded=FLOOD in tricks)
        leaks = self._leaks(views, wanted)
        return Reading(
            matches=matches, hidden=hidden, injection=injection, leaks=leaks, tricks=tricks
        )

    def _recognised(self, text: Text, ruled: Sequence[Match], wanted: Wanted) -> tuple[Match, ...]:
        """With what the recognisers see besides the rules; what overlaps a rule's gives way."""
        if text.number or text.sealed or not (self._recognisers and wanted.recognised):
            return tuple(ruled)
        matches = list(ruled)
        for recogniser in self._recognisers:
            for match in recogniser.find(text.text):
                asked = wanted.entities is None or match.entity in wanted.entities
                if asked and not _overlaps(match, matches):
                    matches.append(match)
        return _sorted(matches)

    def _scored(self, source: Source, views: Sequence[_View], *, flooded: bool) -> InjectionScore:
        """The worst of all views but the text itself where it was normalised."""
        if len(views) > 1 and views[1].layer == _NORMALISED:
            views = views[1:]
        worst = InjectionScore(score=0.0, verdict=InjectionVerdict.CLEAN)
        for view in views:
            found = self._injection.score(view.text, source)
            if (_RANK[found.verdict], found.score) > (_RANK[worst.verdict], worst.score):
                inside = view.layer not in {"", _NORMALISED}
                reasons = [f"{view.layer}: {reason}" for reason in found.reasons or ("text",)]
                worst = msgspec.structs.replace(found, reasons=tuple(reasons)) if inside else found
        if flooded:
            verdict = max(worst.verdict, InjectionVerdict.SUSPECT, key=_RANK.__getitem__)
            reasons = [*worst.reasons, FLOOD]
            worst = msgspec.structs.replace(worst, verdict=verdict, reasons=tuple(reasons))
        return worst


_NORMALISED: Final = "normalised"


_Pair: TypeAlias = tuple[str, str]
"""An entity and its value."""


class _Light(msgspec.Struct, frozen=True):
    """``copied`` is what stands in the text and, it seems, hidden in it once more."""

    matches: tuple[Match, ...]
    hidden: dict[_Pair, Hidden]
    copied: dict[_Pair, Hidden]


def _groups(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """The texts in order, in groups that are small or one text."""
    low = size = 0
    for at, text in enumerate(texts):
        if size and size + len(text) > _TOGETHER:
            yield low, at
            low, size = at, 0
        size += len(text)
    yield low, len(texts)


def _hides_nothing(text: Text, found: Layers) -> bool:
    return found.text is text.text and not (found.decoded or found.tricks)


def _views(index: int, text: str, found: Layers) -> list[_View]:
    views = [_View(index, "", text)]
    if found.text is not text:
        views.append(_View(index, _NORMALISED, found.text))
    return [*views, *map(_View, [index] * len(found.names), found.names, found.decoded)]


def _brought_to_light(
    text: str, matches: tuple[Match, ...], seen: Iterable[tuple[_View, Sequence[Match]]]
) -> _Light:
    """What the views show that the text does not: with its place where that can be told.

    Decoded layers are looked through for secrets only: a name inside of an encoding is mostly
    chance, or the sender's business.
    """
    light = _Light(matches, {}, {})
    for view, found in seen:
        if view.layer == _NORMALISED:
            light = _normalised(text, light, view, found)
            continue
        clear = {_value(text, match) for match in light.matches}
        for match in found:
            if match.category is Category.SECRET:
                one = match.entity, view.text[match.start : match.end]
                told = light.copied if one in clear else light.hidden
                told[match.entity, view.layer] = _unplaced(match, view)
    return light


def _normalised(text: str, light: _Light, view: _View, found: Sequence[Match]) -> _Light:
    """With what the normalised text shows more of than the text itself."""
    matches = light.matches
    clear = Counter(_value(text, match) for match in matches)
    tries = _MOST_LOCATED if len(text) <= _LOCATED else 0
    for match in found:
        one = match.entity, view.text[match.start : match.end]
        if one in clear:
            clear[one] -= 1
            if clear[one] < 0:
                light.copied[match.entity, view.layer] = _unplaced(match, view)
            continue
        if tries:
            tries -= 1
            place = _located(text, match, one[1])
            if place is not None and all(_gives_way(other, place) for other in matches):
                rest = [other for other in matches if not _overlaps(other, [place])]
                matches = _sorted([*rest, place])
                continue
        light.hidden[match.entity, view.layer] = _unplaced(match, view)
    return msgspec.structs.replace(light, matches=matches)


def _unplaced(match: Match, view: _View) -> Hidden:
    return Hidden(entity=match.entity, category=match.category, rule=match.rule, layer=view.layer)


def _value(text: str, match: Match) -> tuple[str, str]:
    return match.entity, plain(text[match.start : match.end])


def _blanked(text: str, matches: Iterable[Match]) -> str:
    """The text, of the same length, with spaces in the place of matches."""
    parts, at = [], 0
    for match in matches:
        parts += [text[at : match.start], " " * (match.end - match.start)]
        at = match.end
    return "".join((*parts, text[at:]))


def _located(text: str, match: Match, value: str) -> Match | None:
    """The match of the normalised text as one of the text: the stretch that reads as its value."""
    ends = range(len(text) + 1)
    start = bisect_left(ends, match.start + 1, key=lambda end: len(plain(text[:end]))) - 1
    end = bisect_left(ends, match.end, key=lambda end: len(plain(text[:end])))
    if start < 0 or plain(text[start:end]) != value:
        return None
    return msgspec.structs.replace(match, start=start, end=end)


def _gives_way(match: Match, place: Match) -> bool:
    """Whether a match may stand beside the place, or is but a part of what it shows."""
    part = place.start <= match.start and match.end <= place.end and match.entity == place.entity
    return part or not _overlaps(match, [place])


def _overlaps(match: Match, others: Iterable[Match]) -> bool:
    return any(match.start < other.end and other.start < match.end for other in others)


def _sorted(matches: Iterable[Match]) -> tuple[Match, ...]:
    return tuple(sorted(matches, key=lambda match: match.start))
