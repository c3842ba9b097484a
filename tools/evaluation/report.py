"""The report, docs/detection.md: last figures beside the first, and beside others'."""

from __future__ import annotations

from typing import Any

Figures = dict[str, Any]

_INJECTION = (
    ("tool_recall_at_1pc", "tool results: recall at 1 % false positives"),
    ("tool_recall_at_01pc", "tool results: recall at 0.1 %"),
    ("document_recall_at_1pc", "documents: recall at 1 %"),
    ("document_recall_at_01pc", "documents: recall at 0.1 %"),
    ("user_recall_at_1pc", "users' prompts: recall at 1 %"),
    ("user_recall_at_01pc", "users' prompts: recall at 0.1 %"),
    ("marked_indirect_recall_at_05pc", "marked indirect injection: recall at 0.5 %"),
    ("marked_indirect_obfuscated_recall_as_shipped", "of these the obfuscated, as shipped"),
    ("unmarked_indirect_recall_at_1pc", "unmarked indirect injection: recall at 1 %"),
    ("over_defence_accuracy", "over-defence accuracy (benign text full of trigger words)"),
    ("over_defence_not_even_suspect", "of these not even suspect"),
)
_SHIPPED = (
    ("recall_as_shipped", "recall"),
    ("false_positives_as_shipped", "false positives"),
    ("suspect_as_shipped", "suspect or worse, benign"),
)
_OTHERS = """\
| detector | figures, as published or measured by others on other data |
|---|---|
| five regular expressions as often published | no marked indirect attack; flags 10 % of\
 security documents |
| Vigil's YARA rules | recall .03 on hijack prompts, none on indirect ones |
| Prompt Guard 2 86M (claimed) | recall .975 at 1 %, 92 ms on an A100 |
| Prompt Guard 2 22M (claimed) | recall .887 at 1 %, 19 ms |
| PIGuard on NotInject (claimed) | over-defence accuracy .87; others near .60 |
| Presidio's recognisers without a model | micro-F1 .768 on 1 500 sentences of\
 presidio-research, 20 ms per KB |
"""


def render(first: Figures, last: Figures, digests: dict[str, str], version: str) -> str:
    """The whole document."""
    parts = [
        "# Detection: what is found and what is not",
        "",
        (
            f"Made by `make eval-detection DATA=...` with version {version}. Every figure is of"
            " `portcullis inspect` as shipped, over rows that no rule or weight was made of; the"
            " first run's figure stands beside the last. Between the two, figures of these sets"
            " (never texts) were looked at several times while the detector changed; that words are"
            " weighed beside rules, in runs of bounded length, how marks that repeat are read, that"
            " announcements weigh little, and how many benign rows a threshold lets pass, was"
            " decided with them in view. How the detector works and where it is blind:"
            " [inspection.md](inspection.md), [model-card.md](model-card.md)."
        ),
        "",
        "## Prompt injection",
        "",
        (
            "Rows: made by the grammars of `tools/detection_cases`, which were written by somebody"
            " who had not seen the detector, and were frozen by digest before it was tuned. Attacks"
            " and benign rows share carriers and prose, so the carrier tells nothing. Benign rows"
            " repeat a bank of sentences: the figures at 0.1 % rest on fewer independent texts."
        ),
        "",
        *_table(_INJECTION, first["injection"], last["injection"]),
        "",
        "As shipped, with the thresholds of each source (verdict `injection`):",
        "",
        "| source | recall | false positives | suspect or worse, benign |",
        "|---|---|---|---|",
        *(_source(last["injection"], source) for source in ("tool", "document", "user")),
        "",
        "## On sources that the model never saw",
        "",
        (
            "The model is trained again without a fifth of the sources, and judges them (the"
            " training script's own evaluation, `tools/train-injection DATA/detection --examples"
            " EXAMPLES --check`). `examples/N` are the sentences of one author each, who did not"
            " know the detector; half of their benign ones are written to be mistaken."
        ),
        "",
        *_table(
            tuple(
                (name, name.replace("_", " "))
                for name in last["sources"]
                if "threshold" not in name
            ),
            first["sources"],
            last["sources"],
        ),
        "",
        "## Personal data",
        "",
        (
            "`held-out`: sentences of presidio-research (MIT) whose templates were not looked at,"
            " half of all templates by hash. `grammar`: frozen as above, wrong checksums as decoys"
            " among them. A finding is right when it has the entity's name and overlaps the datum"
            " by half of their union. Names, organisations, titles, nationalities, places and free"
            " addresses cannot be told by their form: they are reported apart."
        ),
        "",
    ]
    for name in ("held_out", "grammar"):
        parts += _entities(name, first["personal"][name], last["personal"][name])
    parts += [
        "## Secrets",
        "",
        "| set | precision | recall | F1 | F1, first run |",
        "|---|---|---|---|---|",
        _line("grammar", last["secrets"], first["secrets"]),
        "",
        (
            "Beside it, every rule finds what its own pattern generates"
            " (`tests/unit/inspection/secrets`)."
        ),
        "",
        "## Others",
        "",
        _OTHERS,
        "## What was judged",
        "",
        "| file | SHA-256 |",
        "|---|---|",
        *(f"| {name} | `{digest}` |" for name, digest in digests.items()),
        "",
    ]
    return "\n".join(parts)


def _table(rows: tuple[tuple[str, str], ...], first: Figures, last: Figures) -> list[str]:
    lines = ["| figure | first run | last run |", "|---|---|---|"]
    for key, title in rows:
        before = f"{first[key]:.3f}" if key in first else "-"
        lines.append(f"| {title} | {before} | {last[key]:.3f} |")
    return lines


def _source(figures: Figures, source: str) -> str:
    cells = " | ".join(f"{figures[f'{source}_{key}']:.3f}" for key, _ in _SHIPPED)
    return f"| {source} | {cells} |"


def _entities(name: str, first: Figures, last: Figures) -> list[str]:
    lines = [
        f"### {name.replace('_', '-')}",
        "",
        "| entity | precision | recall | F1 | F1, first run |",
        "|---|---|---|---|---|",
        _line("**micro, what has a form**", last["micro"], first["micro"]),
        _line("micro, what is reported apart", last["apart"], first["apart"]),
    ]
    for entity, counts in last["entities"].items():
        lines.append(_line(entity, counts, first["entities"].get(entity)))
    return [*lines, ""]


def _line(name: str, last: Figures, first: Figures | None) -> str:
    before = f"{first['f1']:.3f}" if first else "-"
    return (
        f"| {name} | {last['precision']:.3f} | {last['recall']:.3f} | {last['f1']:.3f} | {before} |"
    )
