"""Fit the model: the weights of grams for each head, and those of intents beside them.

Grams are fitted by logistic regression with an L2 penalty on windows of tokens. The intents'
weights, never negative, are fitted on texts whose grams were weighed by a model that had not seen
them.
"""

import random
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from injection.data import EXAMPLES, Row, fold_of
from portcullis.inspection.injection import fold
from portcullis.inspection.injection.grams import grams, tokens

HEADS = ("data", "user")
UNMARKED = ("indirect_base", "indirect_nomarker")
"""Attacks whose words do not differ from a user's wish. They are measured, not trained on."""
WINDOW = 24
"""Tokens of a window to learn from."""
_STRIDE = WINDOW // 4
_INSIDE = 0.75
_LEAST = 7
_ROUNDS = 60
_MOST_WINDOWS = 12
_STRONGEST = 2
_HEAVIEST = 4.0
_MOST = {"attention": 1.4, "urgency": 1.0}
"""What weighs less by its meaning: who announces an order has not given one."""


@dataclass(frozen=True)
class Settings:
    """``strength`` is C, the inverse of the penalty; weights below ``smallest`` are not kept."""

    strength: float = 0.5
    smallest: float = 0.06


@dataclass(frozen=True)
class Text:
    """A row and its grams: numbers by token, -1 for what is too rare to learn from.

    What is in the span ``inside`` (tokens) is what its label is about.
    """

    row: Row
    grams: np.ndarray
    inside: tuple[int, int]

    @property
    def spanned(self) -> bool:
        """Whether it is known where the attack stands."""
        return self.row.source.startswith(EXAMPLES) or not self.row.label

    def windows(self) -> list[tuple[int, int]]:
        """Where windows begin and end."""
        size = len(self.grams)
        starts = range(0, max(1, size - WINDOW + _STRIDE), _STRIDE)
        return [(start, min(size, start + WINDOW)) for start in starts]

    def held(self, window: tuple[int, int]) -> float:
        """How much of what it is about a window holds: 1 for all, or for all that it can."""
        low, high = self.inside
        common = min(window[1], high) - max(window[0], low)
        return max(0, common) / max(1, min(WINDOW, high - low))


@dataclass(frozen=True)
class Corpus:
    """All texts, and the grams that their numbers mean."""

    texts: list[Text]
    names: list[bytes]


@dataclass(frozen=True)
class Fitted:
    """The weights of a head, by the grams' numbers."""

    bias: float
    weights: np.ndarray

    def total(self, text: Text, window: tuple[int, int]) -> float:
        """The sum of a window."""
        found = text.grams[slice(*window)].ravel()
        return self.bias + float(self.weights[found[found >= 0]].sum())


def corpus(rows: Sequence[Row], classes: Mapping[bytes, bytes]) -> Corpus:
    """Read rows; a gram that few rows have is not learned from."""
    numbers: dict[bytes, int] = {}
    texts = []
    for row in rows:
        parts = [tokens(fold.fold(part)) for part in (row.before, row.text, row.after)]
        found = [token for part in parts for token in part]
        each = np.full((len(found), 2), -1, dtype=np.int32)
        for at, gram in grams(found, classes):
            each[at, gram.count(b" ")] = numbers.setdefault(gram, len(numbers))
        before = len(parts[0])
        texts.append(Text(row, each, (before, before + len(parts[1]))))
    counts = np.zeros(len(numbers) + 1, dtype=np.int32)
    for text in texts:
        counts[np.unique(text.grams)] += 1
    kept = counts[:-1] >= _LEAST
    renumbered = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1).astype(np.int32)
    names = [gram for gram, number in numbers.items() if kept[number]]
    return Corpus([replace(text, grams=renumbered[text.grams]) for text in texts], names)


def importance(row: Row, head: str) -> float:
    """What a window of a row counts in the training of a head; 0 for not at all."""
    user = row.kind in {"user", "user_chat", "role_prompt", "pii_text"}
    direct = user or row.kind in {"direct", "direct_hijack", "direct_extract", "jailbreak"}
    if row.kind in UNMARKED:
        return 0.0
    if not row.label:
        return (1.0 if user else 0.5) if head == "user" else (0.3 if user else 1.0)
    if head == "user":
        return (1.0 if direct else 0.5) if direct or row.kind == "bare" else 0.0
    return 0.5 if direct or row.before else 1.0


def fit(found: Corpus, head: str, settings: Settings, without: Container[str] = ()) -> Fitted:
    """Fit a head: first where it is known where attacks stand, then with the others' strongest.

    What is in a fold that is named in ``without`` is left out.
    """
    texts = [text for text in found.texts if fold_of(text.row) not in without]
    known = [text for text in texts if text.spanned]
    first = _fit(_chosen(known, head, None), len(found.names), settings)
    return _fit(_chosen(texts, head, first), len(found.names), settings)


_Chosen = list[tuple[Text, tuple[int, int], float]]


def _chosen(texts: Sequence[Text], head: str, first: Fitted | None) -> _Chosen:
    chance = random.Random(2)  # noqa: S311 - not for secrets
    chosen: _Chosen = []
    for text in texts:
        weight = importance(text.row, head)
        windows = text.windows()
        if not weight or not len(text.grams):
            continue
        if not text.row.label:
            if len(windows) > _MOST_WINDOWS:
                windows = chance.sample(windows, _MOST_WINDOWS)
        elif text.spanned:
            enough = min(_INSIDE, max(map(text.held, windows)))
            windows = [window for window in windows if text.held(window) >= enough]
        elif first is not None:
            windows.sort(key=lambda window: -first.total(text, window))
            windows = windows[:_STRONGEST]
        chosen += [(text, window, weight) for window in windows]
    return chosen


def _fit(chosen: _Chosen, count: int, settings: Settings) -> Fitted:
    slices = [text.grams[slice(*window)].ravel() for text, window, _ in chosen]
    places = np.concatenate(slices)
    rows = np.repeat(np.arange(len(slices), dtype=np.int32), [len(part) for part in slices])
    known = places >= 0
    ones = np.ones(int(known.sum()), dtype=np.float32)
    matrix = csr_matrix((ones, (rows[known], places[known])), shape=(len(slices), count))
    weights = np.array([weight for _, _, weight in chosen])
    sign = np.array([1.0 if text.row.label else -1.0 for text, _, _ in chosen])
    turned = matrix.T.tocsr()

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (matrix @ point[1:] + point[0])
        slope = -weights * sign / (1 + np.exp(np.clip(margin, -60, 60)))
        gradient = np.concatenate([[slope.sum()], turned @ slope + point[1:] / settings.strength])
        penalty = point[1:] @ point[1:] / 2 / settings.strength
        return weights @ np.logaddexp(0, -margin) + penalty, gradient

    start = np.zeros(1 + count)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _ROUNDS}).x
    kept = np.where(np.abs(found[1:]) >= settings.smallest, found[1:], 0.0)
    return Fitted(float(found[0]), kept)


def fit_intents(
    windows: Sequence[tuple[frozenset[str], float, int, float]], names: Collection[str]
) -> dict[str, float]:
    """The weights of intents, given (intents, sum of grams, label, importance) of windows."""
    columns = {name: number for number, name in enumerate(names)}
    matrix = np.zeros((len(windows), len(names)))
    for number, (found, *_) in enumerate(windows):
        matrix[number, [columns[name] for name in found]] = 1
    given = np.array([max(0.0, total) for _, total, *_ in windows])
    sign = np.array([1.0 if label else -1.0 for _, _, label, _ in windows])
    weights = np.array([weight for *_, weight in windows])

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (matrix @ point[1:] + point[0] + given)
        slope = -weights * sign / (1 + np.exp(np.clip(margin, -60, 60)))
        gradient = np.concatenate([[slope.sum()], matrix.T @ slope])
        return weights @ np.logaddexp(0, -margin), gradient

    start = np.array([-4.0, *[0.0] * len(names)])
    limits = [(-20.0, 0.0), *((0.0, _MOST.get(name, _HEAVIEST)) for name in names)]
    found = minimize(loss, start, jac=True, bounds=limits, method="L-BFGS-B").x
    return {name: float(weight) for name, weight in zip(names, found[1:], strict=True)}
