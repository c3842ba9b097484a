"""The sum of weights of a text: that of its strongest window.

A text is read in segments of several windows that overlap. A segment is matched once; its sum is at
least that of each of its windows, so that windows are only matched where it is above the model's
floor and above what was found before, and where rules are in it, which may be of different windows.
That makes ordinary text cheap. A text that keeps being
remarkable is no longer looked at window by window after a while: then the sum of a whole segment
counts, which is never less. Nothing depends on how the text was cut into pieces.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from portcullis.inspection.injection import fold
from portcullis.inspection.injection.grams import Grams, Strongest
from portcullis.inspection.injection.intents import Rule
from portcullis.inspection.injection.linear import Model
from portcullis.inspection.injection.matcher import Matcher
from portcullis.inspection.injection.thresholds import Threshold

WHOLE: Final = 32
GROWING: Final = 2
"""Windows in a segment, of a text that is there and of one that is waited for."""
_FEWEST: Final = 24
"""Bytes below which words say nothing: names, numbers, the values of most members."""
_PATIENCE: Final = 150
"""Windows of a text that are looked at one by one."""


class Weighed(NamedTuple):
    """What was seen in a slice: rules by number, their sum, the strongest run, the sum of both.

    In a slice that is too short for its words to count there was no look at them.
    """

    numbers: Collection[int]
    ruled: float
    run: Strongest | None
    total: float


class Scale:
    """Weighs slices of folded text.

    An intent counts once, however many rules show it; the strongest run of words, where that speaks
    for an attack.
    """

    def __init__(
        self, model: Model, heads: Mapping[str, Grams], rules: Sequence[Rule], matcher: Matcher
    ) -> None:
        self._matcher = matcher
        self._heads = heads
        self._rules = rules
        self._weights = model.intents
        self.floor = model.floor

    def weigh(self, data: bytes, head: str) -> Weighed:
        """What the rules of a slice say, and what its words do."""
        numbers = self._matcher.find(data)
        ruled = 0.0
        if numbers:
            intents = {self._rules[number].intent for number in numbers}
            weights = self._weights[head]
            ruled = sum(weights.get(intent, 0.0) for intent in sorted(intents))
        if len(data) < _FEWEST:
            return Weighed(numbers, ruled, None, ruled)
        run = self._heads[head].strongest(data)
        return Weighed(numbers, ruled, run, ruled + max(0.0, run.total))

    def explain(self, data: bytes, weighed: Weighed, head: str, most: int = 6) -> tuple[str, ...]:
        """The rules and grams that weigh most in a slice, heaviest first."""
        named: dict[str, float] = {}
        for number in weighed.numbers:
            rule = self._rules[number]
            named[rule.id] = self._weights[head].get(rule.intent, 0.0)
        run = weighed.run or self._heads[head].strongest(data)
        if run.total > 0:
            grams = self._heads[head].explain(data[run.start : run.end])
            named |= {f"words:{gram}": weight for gram, weight in grams.items()}
        best = sorted(named.items(), key=lambda item: (-item[1], item[0]))[:most]
        return tuple(name for name, weight in best if weight > 0)


class Windows:
    """Weighs a folded text that arrives in pieces, until a window is an injection."""

    def __init__(self, scale: Scale, threshold: Threshold, batch: int) -> None:
        self._scale = scale
        self._batch = batch
        self._threshold = threshold
        self._data = b""
        self._next = 0  # the number of the window at which the next segment begins
        self._gone = 0  # strides that were taken off the beginning of the data
        self._looked = 0
        self._strongest: tuple[bytes, Weighed] | None = None
        self._names: tuple[str, ...] = ()
        self.total = scale.floor

    @property
    def names(self) -> tuple[str, ...]:
        """The rules and phrases that weigh most in the strongest window."""
        if self._strongest is not None:
            self._names = self._scale.explain(*self._strongest, self._threshold.head)
            self._strongest = None
        return self._names

    def feed(self, data: bytes) -> None:
        """Take the next piece of folded text; it goes on where the last one ended."""
        if self.total >= self._threshold.injection:
            return
        self._data += data
        segment = (self._batch + 1) * fold.STRIDE + fold.SLACK
        while self._open and len(self._data) - self._from * fold.STRIDE > segment:
            self._segment(self._batch)
        if self._from > 0:
            self._data = self._data[self._from * fold.STRIDE :]
            self._gone = self._next

    def end(self) -> None:
        """Weigh what is left."""
        left = len(self._data) - self._from * fold.STRIDE
        if self._open and (left > fold.STRIDE or self._next == 0):
            self._segment(max(1, -(-left // fold.STRIDE) - 1))
        self._data = b""

    @property
    def _open(self) -> bool:
        return self.total < self._threshold.injection

    @property
    def _from(self) -> int:
        return self._next - self._gone

    def _segment(self, count: int) -> None:
        first = self._from
        self._next += count
        whole = self._slice(first, first + count + 1)
        weighed = self._scale.weigh(whole, self._threshold.head)
        if weighed.total <= self.total:
            return
        # a run of words is in a window as in the whole
        if count == 1 or not weighed.ruled or self._looked >= _PATIENCE:
            self._looked += weighed.ruled > 0
            self._stronger(whole, weighed)
            return
        for number in range(first, first + count):
            window = self._slice(number, number + 2)
            self._looked += 1
            weighed = self._scale.weigh(window, self._threshold.head)
            if weighed.total > self.total:
                self._stronger(window, weighed)
            if not self._open:
                return

    def _stronger(self, data: bytes, weighed: Weighed) -> None:
        self.total = weighed.total
        self._strongest = data, weighed

    def _slice(self, first: int, last: int) -> bytes:
        """From one window's beginning to another's, with the space that stands there."""
        return self._data[fold.cut(self._data, first) : fold.cut(self._data, last) + 1]
