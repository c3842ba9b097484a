"""Have `portcullis inspect` look at rows, and pair each row with what it found."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """A text to judge. ``label`` 1 is an attack; ``spans`` are (entity, start, end)."""

    id: str
    set: str
    text: str
    source: str
    label: int
    kind: str = ""
    group: str = ""
    spans: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """A row and what was found in it."""

    row: Row
    score: float
    verdict: str
    found: tuple[tuple[str, str, int, int], ...] = field(default=())
    """(entity, category, start, end)"""


def generated(folder: Path) -> list[Row]:
    """The rows of every ``*.jsonl`` that tools/detection_cases.py wrote into a folder."""
    rows = []
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            item = json.loads(line)
            spans = tuple((s["entity"], s["start"], s["end"]) for s in item.get("spans", ()))
            rows.append(
                Row(
                    id=item["id"],
                    set=item["set"],
                    text=item["text"],
                    source=item["source"],
                    label=item["label"],
                    kind=item["kind"],
                    group=item["id"].rpartition(":")[0],
                    spans=spans,
                )
            )
    return rows


def inspect(rows: Sequence[Row]) -> list[Judged]:
    """Run the command over all rows, as a user would; raises when it fails or loses one."""
    lines = "".join(
        json.dumps({"id": row.id, "text": row.text, "source": row.source}) + "\n" for row in rows
    )
    command = [str(Path(sys.executable).with_name("portcullis")), "inspect"]
    done = subprocess.run(  # noqa: S603 - our own program
        command, input=lines, capture_output=True, text=True, check=True
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if [answer["id"] for answer in answers] != [row.id for row in rows]:
        raise RuntimeError("portcullis inspect did not answer every row in order")
    return [_judged(row, answer) for row, answer in zip(rows, answers, strict=True)]


def _judged(row: Row, answer: dict[str, Any]) -> Judged:
    injection = answer["injection"]
    return Judged(
        row=row,
        score=injection["score"],
        verdict=injection["verdict"],
        found=tuple(
            (item["entity"], item["category"], item["start"], item["end"])
            for item in answer["findings"]
        ),
    )


def of(judged: Iterable[Judged], *sets: str) -> list[Judged]:
    """Those of some sets."""
    return [item for item in judged if item.row.set in sets]
