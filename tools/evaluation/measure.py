"""What is measured: injection by channel, over-defence, personal data, secrets."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from evaluation.figures import Counts, flagged, micro, recall_at, share, spans, suspect
from evaluation.run import Judged, Row, of

CHANNELS = {"tool": "benign_tool", "document": "benign_document", "user": "benign_user"}


def injection(judged: list[Judged]) -> dict[str, float]:
    """Recall and false positives per channel, over the generated sets."""
    figures: dict[str, float] = {}
    for source, name in CHANNELS.items():
        benign = of(judged, name)
        attacks = [
            item for item in of(judged, "indirect_marked", "direct") if item.row.source == source
        ]
        figures[f"{source}_recall_at_1pc"] = recall_at(attacks, benign, 0.01)
        figures[f"{source}_recall_at_01pc"] = recall_at(attacks, benign, 0.001)
        figures[f"{source}_recall_as_shipped"] = share(attacks, flagged)
        figures[f"{source}_false_positives_as_shipped"] = share(benign, flagged)
        figures[f"{source}_suspect_as_shipped"] = share(benign, suspect)
    outside = of(judged, "benign_tool", "benign_document")
    marked = of(judged, "indirect_marked")
    hidden = [item for item in marked if "obfus" in item.row.kind]
    figures["marked_indirect_recall_at_05pc"] = recall_at(marked, outside, 0.005)
    figures["marked_indirect_obfuscated_recall_as_shipped"] = share(hidden, flagged)
    figures["unmarked_indirect_recall_at_1pc"] = recall_at(
        of(judged, "indirect_unmarked"), outside, 0.01
    )
    hard = of(judged, "hard_negative")
    figures["over_defence_accuracy"] = 1 - share(hard, flagged)
    figures["over_defence_not_even_suspect"] = 1 - share(hard, suspect)
    return figures


def personal(judged: list[Judged], alias: dict[str, str]) -> dict[str, Counts]:
    """Counts by entity over the entities that the rows label."""
    entities = frozenset(span[0] for item in judged for span in item.row.spans)
    return spans(judged, entities, alias)


def secrets(judged: list[Judged]) -> Counts:
    """Counts over all secrets together: any rule of the category is right in the right place."""
    renamed = [
        Judged(
            row=item.row,
            score=item.score,
            verdict=item.verdict,
            found=tuple(("SECRET", c, s, e) for _, c, s, e in item.found if c == "secret"),
        )
        for item in judged
    ]
    return micro(spans(renamed, frozenset({"SECRET"}), {}))


def published(file: Path, *, held_out: bool) -> list[Row]:
    """Rows of presidio-research's generated sentences; half of the templates is held out."""
    rows = []
    for index, item in enumerate(json.loads(file.read_text(encoding="utf-8"))):
        template = str(item["template_id"])
        if is_held_out(template) == held_out:
            rows.append(_published(index, template, item))
    return rows


def is_held_out(template: str) -> bool:
    """Which half of the templates rules were never tuned on."""
    return hashlib.sha256(template.encode()).digest()[-1] % 2 == 1


def _published(index: int, template: str, item: dict[str, Any]) -> Row:
    return Row(
        id=f"presidio-{template}:{index:05d}",
        set="presidio_held_out",
        text=item["full_text"],
        source="user",
        label=0,
        group=template,
        spans=tuple(
            (span["entity_type"], span["start_position"], span["end_position"])
            for span in item["spans"]
        ),
    )
