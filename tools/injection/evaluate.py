"""Evaluate by sources that were held out, and calibrate the thresholds on what comes out."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from injection.data import CHANNELS, FOLDS, Row, channels, fold_of
from injection.fit import Example, Fitted, Settings, fit
from portcullis.inspection.injection.intents import Grammar

HARD = ("security_doc", "role_prompt")
"""Benign kinds that are full of what attacks say; ordinary traffic holds little of them."""
HARD_SHARE = 0.01
"""What they count together in calibration, where the ordinary rows of a channel count 1."""
RATES = {"suspect": 0.01, "injection": 0.002}
LEAST = {"suspect": 2.0, "injection": 3.0}
"""The rules were written with these rows in view, so that their benign scores flatter: no
threshold is lower than this."""
TOGETHER = {"user": 1.9, "tool": 0.0, "document": 0.0, "model": 1.9}
"""What phrases count at most. In tools and documents they tell talk about attacks from other talk,
not attacks from talk about them: only intents count there."""
UNMARKED = ("indirect_base", "indirect_nomarker")
"""Attacks whose words do not differ from a user's wish. They are measured, not trained on."""


@dataclass(frozen=True)
class Scored:
    """A row and its scores, by channel, by a model that never saw its source."""

    row: Row
    scores: dict[str, float]


def held_out(
    rows: Sequence[Row],
    examples: Sequence[Example],
    own: Sequence[Example],
    grammar: Grammar,
    settings: Settings,
) -> list[Scored]:
    """Score every row by the model that was trained without its fold."""
    scored = []
    for number in range(len(FOLDS)):
        model = trained(rows, examples, own, grammar, settings, without=number)
        scored += [
            Scored(row, {name: model.score(example, most) for name, most in TOGETHER.items()})
            for row, example in zip(rows, examples, strict=True)
            if fold_of(row) == number
        ]
    return scored


def trained(
    rows: Sequence[Row],
    examples: Sequence[Example],
    own: Sequence[Example],
    grammar: Grammar,
    settings: Settings,
    *,
    without: int | None = None,
) -> Fitted:
    """Train on all marked rows but those of one fold, and on our own examples."""
    chosen = [
        example
        for row, example in zip(rows, examples, strict=True)
        if row.kind not in UNMARKED and fold_of(row) != without
    ]
    return fit([*chosen, *own], grammar, settings)


def thresholds(scored: Sequence[Scored]) -> dict[str, dict[str, float]]:
    """For each channel, the scores that its benign rows pass as seldom as RATES says."""
    return {
        channel: {
            name: max(LEAST[name], _quantile(_benign(scored, channel), rate) + 1e-3)
            for name, rate in RATES.items()
        }
        for channel in CHANNELS
    }


def _benign(scored: Iterable[Scored], channel: str) -> list[tuple[float, float]]:
    """(score, weight) of the benign rows of a channel."""
    found = [s for s in scored if not s.row.label and channel in set(channels(s.row))]
    hard = sum(s.row.kind in HARD for s in found)
    share = HARD_SHARE * (len(found) - hard) / hard if hard else 0.0
    return [(s.scores[channel], share if s.row.kind in HARD else 1.0) for s in found]


def _quantile(weighted: Sequence[tuple[float, float]], rate: float) -> float:
    left = rate * sum(weight for _, weight in weighted)
    for score, weight in sorted(weighted, reverse=True):
        left -= weight
        if left < 0:
            return score
    return 0.0


def figures(scored: Sequence[Scored], limits: dict[str, dict[str, float]]) -> dict[str, float]:
    """Recall by channel and source, false positives, over-defence, and the marked indirect."""
    found: dict[str, float] = {}
    for channel in CHANNELS:
        mine = [s for s in scored if channel in set(channels(s.row))]
        ordinary = [s for s in mine if not s.row.label and s.row.kind not in HARD]
        for name, limit in limits[channel].items():
            found[f"{channel}.{name}.threshold"] = limit
            found[f"{channel}.{name}.false_positives"] = _share(ordinary, channel, limit)
        attacks = [s for s in mine if s.row.label and s.row.kind not in UNMARKED]
        benign = [s for s in mine if not s.row.label]
        for name, rows in (("ordinary", ordinary), ("with_hard", benign)):
            for rate in (0.01, 0.001) if attacks else ():
                free = _quantile([(s.scores[channel], 1.0) for s in rows], rate) + 1e-6
                found[f"{channel}.recall_at_{rate:.1%}.{name}"] = _share(attacks, channel, free)
        by_source: dict[str, list[Scored]] = defaultdict(list)
        for s in mine:
            if s.row.label:
                by_source[f"{s.row.source}.{s.row.kind}"].append(s)
        for source, rows in sorted(by_source.items()):
            for name, limit in limits[channel].items():
                found[f"{channel}.{name}.recall.{source}"] = _share(rows, channel, limit)
    return found | _hard(scored, limits) | _marked(scored)


def _hard(scored: Sequence[Scored], limits: dict[str, dict[str, float]]) -> dict[str, float]:
    found = {}
    for kind, channel in zip(HARD, ("document", "user"), strict=True):
        rows = [s for s in scored if s.row.kind == kind]
        for name, limit in limits[channel].items():
            found[f"over_defence.{kind}.{name}"] = round(1 - _share(rows, channel, limit), 4)
            for source in sorted({s.row.source for s in rows}):
                mine = [s for s in rows if s.row.source == source]
                found[f"over_defence.{kind}.{name}.{source}"] = round(
                    1 - _share(mine, channel, limit), 4
                )
    return found


def _marked(scored: Sequence[Scored]) -> dict[str, float]:
    """Marked indirect attacks at 0.5 % of tool and document text, with and without hard rows."""
    attacks = [s for s in scored if s.row.kind in {"indirect_enhanced", "indirect_trigger"}]
    benign = [s for s in scored if not s.row.label and {"tool", "document"} & set(channels(s.row))]
    found = {}
    for name, hard in (("ordinary", False), ("with_security_docs", True)):
        free = [(s.scores["tool"], 1.0) for s in benign if hard or s.row.kind not in HARD]
        limit = _quantile(free, 0.005) + 1e-6
        found[f"marked_indirect.recall_at_0.5%.{name}"] = _share(attacks, "tool", limit)
    return found


def _share(rows: Sequence[Scored], channel: str, limit: float) -> float:
    """The share of the rows that score at least ``limit``."""
    return round(sum(s.scores[channel] >= limit for s in rows) / max(1, len(rows)), 4)
