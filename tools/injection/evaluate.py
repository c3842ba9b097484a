"""Evaluate by sources that were held out, and calibrate the thresholds on what comes out."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from injection.data import CHANNELS, EXAMPLES, Row, channels, fold_of
from injection.fit import UNMARKED, Corpus, Fitted, Settings, fit, fit_intents
from portcullis.inspection.injection import fold, intents, linear
from portcullis.inspection.injection.grams import Grams
from portcullis.inspection.injection.matcher import Matcher, matcher

HARD = ("security_doc", "role_prompt")
"""Benign kinds that are full of what attacks say; ordinary traffic holds little of them."""
HEARD = {"hard": 0.1, "examples": 0.3}
"""What they count in the fit of intents, where the ordinary rows count 1."""
SHARES = {"hard": 0.01, "examples": 0.05}
"""What hard rows, and what examples count in calibration, where all other rows of a channel
count 1: half of the examples are hard, too."""
_OTHERS = {"suspect": 0.01, "injection": 0.0035}
RATES = {
    "user": {"suspect": 0.01, "injection": 0.002},
    "tool": _OTHERS,
    "document": _OTHERS,
    "model": _OTHERS,
}
"""The shares of benign rows that may be taken for an injection: fewer of what users write, who are
served with it."""
LEAST = {"suspect": 2.0, "injection": 3.0}
"""No threshold is lower."""
BENIGN = 3.0
"""What a benign window counts where an attack counts 1, in the fit of intents."""
GROUPS = 5
"""How often a part of the sources is held out."""
Intended = Mapping[str, Mapping[str, float]]
"""The weights of intents, for each head."""
HEAD = {"user": "user", "tool": "data", "document": "data", "model": "data"}


@dataclass(frozen=True)
class Window:
    """The intents in a window of a row, and the sums of the heads' strongest words."""

    intents: frozenset[str]
    sums: Mapping[str, float]


@dataclass(frozen=True)
class Scored:
    """A row and its windows, as heads see them that never saw its source."""

    row: Row
    windows: tuple[Window, ...]

    def total(self, channel: str, intended: Intended) -> float:
        """The sum of the strongest window."""
        head = HEAD[channel]
        weights = intended[head]
        return max(
            sum(weights[name] for name in window.intents) + max(0.0, window.sums[head])
            for window in self.windows
        )


def grams(head: Fitted, names: Sequence[bytes], classes: linear.Classes) -> Grams:
    """A fitted head at work."""
    return Grams(classes, weights(head, names), head.bias)


def weights(head: Fitted, names: Sequence[bytes]) -> dict[str, float]:
    """The weights that are kept, in hundredths, of grams that are whole characters."""
    found = {}
    for number in np.flatnonzero(head.weights):
        try:
            found[names[number].decode()] = round(float(head.weights[number]), 2)
        except UnicodeDecodeError:  # a character cut by the folding's tables
            continue
    return found


def held_out(
    corpus: Corpus, grammar: intents.Grammar, classes: linear.Classes, settings: Settings
) -> list[Scored]:
    """Score every row by heads that were fitted without its fold."""
    rules = intents.rules(grammar)
    found = matcher(rules, intents.gate(grammar))
    scored = []
    for fold_names in _together(sorted({fold_of(text.row) for text in corpus.texts})):
        rows = [text.row for text in corpus.texts if fold_of(text.row) in fold_names]
        heads = {
            name: grams(fit(corpus, name, settings, fold_names), corpus.names, classes)
            for name in sorted({HEAD[channel] for row in rows for channel in channels(row)})
        }
        scored += [Scored(row, windows(row, heads, rules, found)) for row in rows]
    return scored


def _together(names: Sequence[str]) -> list[set[str]]:
    """Which folds are held out at once: several authors' examples, with some of the others."""
    groups: list[set[str]] = [set() for _ in range(GROUPS)]
    for sort in (True, False):
        mine = [name for name in names if name.startswith(EXAMPLES) is sort]
        for number, name in enumerate(mine):
            groups[number % GROUPS].add(name)
    return [group for group in groups if group]


def windows(
    row: Row, heads: Mapping[str, Grams], rules: Sequence[intents.Rule], found: Matcher
) -> tuple[Window, ...]:
    """What is in each window of a row."""
    return tuple(
        Window(
            frozenset(rules[number].intent for number in found.find(data)),
            {name: head.strongest(data).total for name, head in heads.items()},
        )
        for data in fold.windows(fold.fold(row.before + row.text + row.after))
    )


def intent_weights(scored: Sequence[Scored], head: str, names: Collection[str]) -> dict[str, float]:
    """Fit a head's weights of intents on what its grams left.

    Sources of attacks count by the root of their size; benign windows count `BENIGN` together where
    attacks count 1, examples and hard rows less than ordinary ones.
    """
    mine = [
        one
        for one in scored
        if one.row.kind not in UNMARKED and head in {HEAD[c] for c in channels(one.row)}
    ]
    sizes = Counter(_group(one.row) for one in mine)
    raw = [_importance(one.row, sizes) for one in mine]
    sums = [sum(w for one, w in zip(mine, raw, strict=True) if one.row.label == n) for n in (0, 1)]
    chosen = []
    for one, weight in zip(mine, raw, strict=True):
        ranked = sorted(one.windows, key=lambda w: -len(w.intents) - w.sums[head])
        scale = weight * (1.0 / sums[1] if one.row.label else BENIGN / sums[0])
        chosen += [
            (window.intents, window.sums[head], one.row.label, scale * len(mine))
            for window in (ranked[:1] if one.row.label else one.windows)
        ]
    return fit_intents(chosen, names)


def _group(row: Row) -> tuple[str, ...]:
    if row.label:
        return (row.source, "" if row.source.startswith(EXAMPLES) else row.kind)
    return (_sort(row),)


def _importance(row: Row, sizes: Mapping[tuple[str, ...], int]) -> float:
    size = sizes[_group(row)]
    if row.label:
        return size**-0.5
    sort = _sort(row)
    return 1.0 if sort == "ordinary" else HEARD[sort] * sizes["ordinary",] / size


def thresholds(scored: Sequence[Scored], intended: Intended) -> dict[str, dict[str, float]]:
    """For each channel, the sums that its benign rows pass as seldom as RATES says."""
    return {
        channel: {
            name: max(LEAST[name], _quantile(_benign(scored, channel, intended), rate) + 1e-3)
            for name, rate in RATES[channel].items()
        }
        for channel in CHANNELS
    }


def _benign(
    scored: Iterable[Scored], channel: str, intended: Intended
) -> list[tuple[float, float]]:
    """(sum, weight) of the benign rows of a channel."""
    found = [s for s in scored if not s.row.label and channel in channels(s.row)]
    sizes: dict[str, int] = defaultdict(int)
    for s in found:
        sizes[_sort(s.row)] += 1
    weigh = {
        sort: 1.0 if sort == "ordinary" else SHARES[sort] * sizes["ordinary"] / size
        for sort, size in sizes.items()
    }
    return [(s.total(channel, intended), weigh[_sort(s.row)]) for s in found]


def _sort(row: Row) -> str:
    if row.source.startswith(EXAMPLES):
        return "examples"
    return "hard" if row.kind in HARD else "ordinary"


def _quantile(weighted: Sequence[tuple[float, float]], rate: float) -> float:
    left = rate * sum(weight for _, weight in weighted)
    for score, weight in sorted(weighted, reverse=True):
        left -= weight
        if left < 0:
            return score
    return 0.0


def figures(
    scored: Sequence[Scored], intended: Intended, limits: dict[str, dict[str, float]]
) -> dict[str, float]:
    """Recall and false positives by channel and source, over-defence, and the marked indirect."""
    found: dict[str, float] = {}
    for channel in CHANNELS:
        mine = [(s.row, s.total(channel, intended)) for s in scored if channel in channels(s.row)]
        for name, limit in limits[channel].items():
            found[f"{channel}.{name}.threshold"] = limit
            by_source: dict[str, list[float]] = defaultdict(list)
            for row, total in mine:
                what = "recall" if row.label else "false_positives"
                kind = "" if row.source.startswith(EXAMPLES) else f".{row.kind}"
                by_source[f"{what}.{row.source}{kind}" if row.label else f"{what}{kind}"].append(
                    total
                )
            for source, totals in sorted(by_source.items()):
                found[f"{channel}.{name}.{source}"] = _share(totals, limit)
        found |= _at(channel, mine)
    return found | _marked(scored, intended)


def _at(channel: str, mine: Sequence[tuple[Row, float]]) -> dict[str, float]:
    attacks = [total for row, total in mine if row.label and row.kind not in UNMARKED]
    found = {}
    for name, hard in (("ordinary", {"ordinary"}), ("with_hard", {"ordinary", "hard", "examples"})):
        free = [(total, 1.0) for row, total in mine if not row.label and _sort(row) in hard]
        for rate in (0.01, 0.001) if attacks else ():
            limit = _quantile(free, rate) + 1e-6
            found[f"{channel}.recall_at_{rate:.1%}.{name}"] = _share(attacks, limit)
    return found


def _marked(scored: Sequence[Scored], intended: Intended) -> dict[str, float]:
    """Marked indirect attacks at 0.5 % of tool and document text, by what is benign."""
    data = [s for s in scored if {"tool", "document"} & channels(s.row)]
    attacks = [
        s.total("tool", intended) for s in data if s.row.label and s.row.kind not in UNMARKED
    ]
    found = {}
    for name, sorts in (
        ("ordinary", {"ordinary"}),
        ("with_security_docs", {"ordinary", "hard"}),
        ("examples", {"examples"}),
    ):
        free = [
            (s.total("tool", intended), 1.0)
            for s in data
            if not s.row.label and _sort(s.row) in sorts
        ]
        found[f"marked_indirect.recall_at_0.5%.{name}"] = _share(
            attacks, _quantile(free, 0.005) + 1e-6
        )
    return found


def _share(totals: Sequence[float], limit: float) -> float:
    """The share that is at least ``limit``."""
    return round(sum(total >= limit for total in totals) / max(1, len(totals)), 4)
