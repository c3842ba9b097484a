"""What the words of a text weigh: a linear model, and the run of words that weighs most.

A token is a word, a character of Chinese, Japanese or Korean, or a mark. A gram is a token, two
tokens in a row (``a b``), or two with one between (``a * b``). In grams of two, a word stands for
its class where it has one (``~SEND``): what was learned of a word holds for its like, in other
languages too. A window is `WINDOW` tokens; its sum is that of the grams that begin in it.

Weights are whole numbers within, so that sums are the same on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Sums = NDArray[np.int32]
Places = NDArray[np.int64]

LONGEST: Final = 24
"""Tokens of a run: what is remarkable in a whole page is no attack."""
TOLL: Final = 0.05
"""What each token of a run takes from its sum."""

_MOST: Final = 1 << 13
_TOKEN: Final = re.compile(
    rb"[\xe3-\xed]?[0-9a-z_\x80-\xe2\xee-\xff]+|[\xe3-\xed]|[.<>|\[\]{}#:=/\\@$%&+]"
)
_DIGITS: Final = re.compile(rb"[0-9]")
_WORD, _LEAD, _MARK = 1, 3, 2
"""Odd are those that a word may go on after; a token begins where more is than that."""


def _sort(byte: int) -> int:
    if 0xE3 <= byte <= 0xED:  # noqa: PLR2004 - the first bytes of kana to hangul
        return _LEAD
    if byte >= 0x80 or byte in b"0123456789abcdefghijklmnopqrstuvwxyz_":  # noqa: PLR2004 - ASCII
        return _WORD
    return _MARK if byte > ord(" ") else 0


def _powers(of: int) -> Hashes:
    found = [1]
    for _ in range(_MOST):
        found.append(found[-1] * of % _WORDS)
    return np.array(found, dtype=np.uint64)


_WORDS: Final = 1 << 64
_RADIX: Final = 0x9E3779B97F4A7C15
_UP: Final = _powers(_RADIX)
_DOWN: Final = _powers(pow(_RADIX, -1, _WORDS))
_ALONE, _FIRST, _NEXT = (
    np.uint64(number) for number in (0xD6E8FEB86659FD93, 0xA0761D6478BD642F, 0xE7037ED1A0B428DB)
)
_BITS: Final = 21
_SHIFT: Final = np.uint64(64 - _BITS)
_SCALE: Final = 1024

_TOLLS: Final = np.arange(_MOST + 2, dtype=np.int32) * np.int32(round(TOLL * _SCALE))
_NEVER: Final = np.iinfo(np.int32).max // 2
_SORTS: Final = bytes(map(_sort, range(256)))
_VALUES: Final = np.array(
    [0 if not _SORTS[byte] else ord("0") if byte in b"0123456789" else byte for byte in range(256)],
    dtype=np.uint64,
)


class Strongest(NamedTuple):
    """The sum of the strongest run, and the bytes of the slice that its grams take."""

    total: float
    start: int
    end: int


def tokens(data: bytes) -> list[bytes]:
    """The tokens of folded text; all digits are one."""
    return [_DIGITS.sub(b"0", token) for token in _TOKEN.findall(data)]


def grams(found: Sequence[bytes], classes: Mapping[bytes, bytes]) -> Iterator[tuple[int, bytes]]:
    """The grams of tokens, each with the number of the token that it begins at.

    Where two tokens in a row are those of one or two tokens before, nothing begins: a line of
    marks says no more than one of them.
    """
    alike = [classes.get(token, token) for token in found]
    pairs = list(pairwise(alike))
    for at, token in enumerate(found):
        if pairs[at : at + 1] and pairs[at] in pairs[max(0, at - 2) : at]:
            continue
        yield at, token
        if at + 1 < len(found):
            yield at, alike[at] + b" " + alike[at + 1]


class Grams:
    """A model at work: ``classes`` are the words of each class, ``weights`` those of grams.

    The weight of a class alone counts for each of its words.
    """

    def __init__(
        self, classes: Mapping[str, Iterable[str]], weights: Mapping[str, float], bias: float
    ) -> None:
        self._bias = round(bias * _SCALE)
        self._weights = weights
        self._classes = {
            word.encode(): name.encode() for name, words in classes.items() for word in words
        }
        self._hashes = _hashed(["", *classes])[0]
        self._alike = np.zeros(1 << _BITS, dtype=np.uint8)
        self._table = np.zeros(1 << _BITS, dtype=np.int16)
        numbers = {name.encode(): number for number, name in enumerate(classes, 1)}
        placed = _placed(_hashed(map(bytes.decode, self._classes))[0] * _ALONE)
        self._alike[placed] = [numbers[name] for name in self._classes.values()]
        self._weigh(placed, [weights.get(name.decode(), 0.0) for name in self._classes.values()])
        hashes, goes_on = _hashed(weights)
        begins = ~np.concatenate((np.zeros(1, dtype=bool), goes_on))[:-1]
        paired = goes_on[begins]
        first = begins.nonzero()[0]
        weighs = np.array([0.0 if one in classes else weight for one, weight in weights.items()])
        self._weigh(_placed(hashes[first[~paired]] * _ALONE), weighs[~paired])
        first = first[paired]
        self._weigh(_placed(hashes[first] * _FIRST + hashes[first + 1] * _NEXT), weighs[paired])

    def strongest(self, data: bytes) -> Strongest:
        """The strongest run in a slice of folded text, of at most 8 KiB."""
        starts = _starts(data)
        count = len(starts)
        if not count:
            return Strongest(self._bias / _SCALE, 0, 0)
        weights, paired = self._weighed(data, starts)
        before = np.empty(count + LONGEST, dtype=np.int32)
        before[: LONGEST - 1] = _NEVER
        sums = before[LONGEST - 1 :]
        sums[0] = 0
        np.add.accumulate(weights, out=sums[1:])
        sums -= _TOLLS[: count + 1]
        runs = sums[1:] - _lowest(before[:-1])
        runs[:-1] -= np.minimum(paired, 0)  # what reaches beyond a run speaks for it only
        last = int(runs.argmax())
        first = max(0, last + 1 - LONGEST)
        first += int(sums[first : last + 1].argmin())
        end = int(starts[last + 2]) if last + 2 < count else len(data)
        total = (max(0, int(runs[last])) + self._bias) / _SCALE
        return Strongest(total, int(starts[first]), end)

    def explain(self, run: bytes) -> dict[str, float]:
        """The grams of a run that speak for an attack, with their weights."""
        found = (gram.decode(errors="replace") for _, gram in grams(tokens(run), self._classes))
        weighed = {gram: self._weights.get(gram, 0.0) for gram in found}
        return {gram: weight for gram, weight in weighed.items() if weight > 0}

    def _weigh(self, places: Places, weights: Sequence[float] | NDArray[np.float64]) -> None:
        """Add to the weights of places, of which one may stand there several times."""
        scaled = np.rint(np.asarray(weights, dtype=np.float64) * _SCALE).astype(np.int16)
        np.add.at(self._table, places, scaled)

    def _weighed(self, data: bytes, starts: Places) -> tuple[Sums, Sums]:
        """The weight of what begins at each token, and (but for the last) that of its pair."""
        values = _VALUES.take(np.frombuffer(data, dtype=np.uint8))
        values *= _UP[1 : len(data) + 1]
        words: Hashes = np.add.reduceat(values, starts)
        words *= _DOWN[starts]
        places = _placed(words * _ALONE)
        weights = self._table.take(places).astype(np.int32)
        numbers = self._alike.take(places)
        alike: Hashes = np.where(numbers, self._hashes.take(numbers), words)
        pairs = _placed(alike[:-1] * _FIRST + alike[1:] * _NEXT)
        paired = self._table.take(pairs).astype(np.int32)
        again = pairs[1:] == pairs[:-1]
        again[1:] |= pairs[2:] == pairs[:-2]
        if b"\1" in again.tobytes():  # quicker than to ask the array
            weights[1:-1][again] = 0
            paired[1:][again] = 0
        weights[:-1] += paired
        return weights, paired


def _starts(data: bytes) -> Places:
    """Where tokens begin."""
    sorts = np.frombuffer(b"\0" + data.translate(_SORTS), dtype=np.uint8)
    return (sorts[1:] > (sorts[:-1] & 1)).nonzero()[0]


def _placed(hashes: Hashes) -> Places:
    """The places of hashes in the tables; they are used up."""
    hashes >>= _SHIFT
    return hashes.view(np.int64)


def _lowest(sums: Sums) -> Sums:
    """At each place but the first ones the least of the last `LONGEST`, itself included."""
    last = sums
    for size in (1, 2, 4):
        last = np.minimum(last[:-size], last[size:])
    wide = np.minimum(last[:-8], last[8:])
    lowest: Sums = np.minimum(wide[:-8], last[16:])
    return lowest


def _hashed(grams: Iterable[str]) -> tuple[Hashes, NDArray[np.bool_]]:
    """What the hashes of all tokens of grams are in a slice, and which are not a gram's last."""
    data = np.frombuffer("".join(f"{gram}\n" for gram in grams).encode(), dtype=np.uint8)
    ends = (data <= ord(" ")).nonzero()[0]
    starts = np.concatenate((np.zeros(1, dtype=np.int64), ends + 1))[:-1]
    values = _VALUES.take(data)  # what parts them weighs nothing
    values *= _UP.take(np.arange(1, len(data) + 1) - starts.repeat(ends + 1 - starts))
    hashes: Hashes = np.add.reduceat(values, starts)
    return hashes, data[ends] == ord(" ")
