"""Fit the linear model: logistic regression with an L1 penalty whose weights are never negative.

The intents' weights are bounded by what the grammar says, so that a language without data weighs
what English was seen to weigh.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from portcullis.inspection.injection import fold, intents
from portcullis.inspection.injection.matcher import matcher, words


@dataclass(frozen=True)
class Window:
    """What is in a window: intents, and phrases."""

    intents: frozenset[str]
    phrases: frozenset[bytes]


@dataclass(frozen=True)
class Example:
    """A text's windows and label; ``group`` is its source, ``family`` what is held out with it."""

    windows: tuple[Window, ...]
    label: int
    group: str
    family: int


@dataclass(frozen=True)
class Settings:
    """What training is steered by.

    A phrase is considered when attacks of two families have it, ``least`` of them, or, if it is
    longer than a word, ``alone`` of one family; and at most ``common`` of benign windows.
    ``benign`` is what benign windows count together, where attacks count 1.
    """

    least: int = 4
    alone: int = 20
    common: float = 0.004
    penalty: float = 1e-3
    smallest: float = 0.1
    heaviest: float = 1.5
    benign: float = 4.0


OWN = -1
"""The family of our own examples, which suggest no phrases."""


@dataclass(frozen=True)
class Fitted:
    """Weights, and the bias they were fitted with."""

    bias: float
    intents: dict[str, float]
    phrases: dict[bytes, float]

    def total(self, window: Window, together: float = float("inf")) -> float:
        """The sum of the weights of a window; phrases count ``together`` at most."""
        phrases = sum(self.phrases.get(phrase, 0.0) for phrase in window.phrases)
        intents = sum(self.intents.get(name, 0.0) for name in window.intents)
        return intents + min(together, phrases)

    def score(self, example: Example, together: float) -> float:
        """The sum of the strongest window."""
        return max(self.total(window, together) for window in example.windows)


def reader(grammar: intents.Grammar) -> Callable[[str], tuple[Window, ...]]:
    """What turns a text into windows."""
    rules = intents.rules(grammar)
    find = matcher((), rules, intents.gate(grammar)).find

    def read(text: str) -> tuple[Window, ...]:
        found = []
        for data in fold.windows(fold.fold(text)):
            phrases = frozenset(
                phrase for start, phrase in words(data) if 0 < start < len(data) - len(phrase)
            )
            found.append(Window(frozenset(rules[n].intent for n in find(data)), phrases))
        return tuple(found)

    return read


def candidates(examples: Sequence[Example], settings: Settings) -> list[bytes]:
    """The phrases whose weight may be above 0, in order."""
    bad: Counter[bytes] = Counter()
    good: Counter[bytes] = Counter()
    families: dict[bytes, set[int]] = {}
    for example in examples:
        if not example.label:
            for window in example.windows:
                good.update(window.phrases)
        elif example.family != OWN:
            phrases = frozenset[bytes]().union(*(window.phrases for window in example.windows))
            bad.update(phrases)
            for phrase in phrases:
                families.setdefault(phrase, set()).add(example.family)
    benign = sum(len(example.windows) for example in examples if not example.label)
    attacks = sum(example.label for example in examples)

    def telling(phrase: bytes, count: int) -> bool:
        shared = len(families[phrase]) > 1 and count >= settings.least
        return (
            (shared or (b" " in phrase and count >= settings.alone))
            and good[phrase] <= settings.common * benign
            and count / attacks > 4 * good[phrase] / benign
            and len(phrase) > 3  # noqa: PLR2004 - shorter ones say nothing
            and not any(byte in b"0123456789" for byte in phrase)
        )

    return sorted(phrase for phrase, count in bad.items() if telling(phrase, count))


def fit(examples: Sequence[Example], grammar: intents.Grammar, settings: Settings) -> Fitted:
    """Fit the intents alone, then the phrases beside them.

    So no phrase takes from an intent what it would lack where phrases do not count. Each is fitted
    on every window of an attack first, then on the two strongest of each.
    """
    intended = {name: (intent.least, intent.most) for name, intent in grammar.intents.items()}
    alone = _twice(examples, intended, [], settings)
    fixed = {name: (weight, weight) for name, weight in alone.intents.items()}
    fitted = _twice(examples, fixed, candidates(examples, settings), settings)
    kept = {p: w for p, w in fitted.phrases.items() if w >= settings.smallest}
    return Fitted(fitted.bias, fitted.intents, kept)


def _twice(
    examples: Sequence[Example],
    bounds: Mapping[str, tuple[float, float]],
    phrases: Sequence[bytes],
    settings: Settings,
) -> Fitted:
    first = _fit([(w, e) for e in examples for w in e.windows], bounds, phrases, settings)
    chosen = []
    for example in examples:
        windows = sorted(example.windows, key=first.total, reverse=True)
        chosen += [(window, example) for window in (windows[:2] if example.label else windows)]
    return _fit(chosen, bounds, phrases, settings)


def _fit(
    windows: Sequence[tuple[Window, Example]],
    bounds: Mapping[str, tuple[float, float]],
    phrases: Sequence[bytes],
    settings: Settings,
) -> Fitted:
    names: list[str | bytes] = [*bounds, *phrases]
    columns = {name: number for number, name in enumerate(names)}
    matrix = _matrix([window for window, _ in windows], columns)
    weights = _weights(windows, settings)
    sign = np.array([1.0 if example.label else -1.0 for _, example in windows])

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (matrix @ point[1:] + point[0])
        slope = -weights * sign / (1 + np.exp(np.clip(margin, -60, 60)))
        gradient = np.concatenate([[slope.sum()], matrix.T @ slope])
        gradient[1 + len(bounds) :] += settings.penalty
        penalty = settings.penalty * point[1 + len(bounds) :].sum()
        return weights @ np.logaddexp(0, -margin) + penalty, gradient

    limits = [(-20.0, 0.0), *bounds.values(), *[(0.0, settings.heaviest)] * len(phrases)]
    start = np.array([-4.0, *(low for low, _ in limits[1:])])
    found = minimize(loss, start, jac=True, bounds=limits, method="L-BFGS-B",
                     options={"maxiter": 300}).x  # fmt: skip
    weighed = dict(zip(names, map(float, found[1:]), strict=True))
    return Fitted(
        float(found[0]),
        {name: weighed[name] for name in bounds},
        {phrase: weighed[phrase] for phrase in phrases if weighed[phrase] > 0},
    )


def _matrix(windows: Sequence[Window], columns: dict[str | bytes, int]) -> csr_matrix:
    rows, places = [], []
    for number, window in enumerate(windows):
        found = [columns[name] for name in window.intents]
        found += [columns[phrase] for phrase in window.phrases if phrase in columns]
        rows += [number] * len(found)
        places += found
    return csr_matrix((np.ones(len(rows)), (rows, places)), shape=(len(windows), len(columns)))


def _weights(windows: Sequence[tuple[Window, Example]], settings: Settings) -> np.ndarray:
    """Each group of attacks counts by the root of its size; benign windows count together."""
    sizes = Counter(example.group for _, example in windows)
    raw = np.array([sizes[example.group] ** -0.5 for _, example in windows])
    labels = np.array([example.label for _, example in windows])
    raw[labels == 1] /= raw[labels == 1].sum()
    raw[labels == 0] *= settings.benign / raw[labels == 0].sum()
    return raw / (1 + settings.benign)
