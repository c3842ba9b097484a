"""Measure detection on frozen rows and write docs/detection.md.

    python tools/eval_detection.py --data FOLDER [--examples FOLDER] [--check]

FOLDER holds ``detection/train.jsonl`` and ``pii/presidio_generated_large.json``; no row of it goes
into the report. The figures of the first run stand in docs/detection-first-run.json and are
never written again. Prints one JSON object with figures and targets; exits with 1 when a target
is missed and ``--check`` was given.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from evaluation import measure, report
from evaluation.figures import Counts, micro
from evaluation.run import generated, inspect, of

from portcullis import __version__

ROOT = Path(__file__).parent.parent
FIRST = ROOT / "docs" / "detection-first-run.json"
REPORT = ROOT / "docs" / "detection.md"
TARGETS = {
    "marked_indirect_recall_at_05pc": 0.90,
    "over_defence_accuracy": 0.95,
    "personal_micro_f1_held_out": 0.90,
}


def main() -> int:
    """Run it all; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--examples", type=Path, help="what the model is trained on besides")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        digests = _generate(Path(folder))
        judged = inspect(generated(Path(folder)))
    held_out = inspect(
        measure.published(options.data / "pii" / "presidio_generated_large.json", held_out=True)
    )
    figures: dict[str, Any] = {
        "injection": measure.injection(judged),
        "sources": _sources(options.data, options.examples),
        "personal": {
            "held_out": _counts(
                measure.personal(held_out, {"URL": "DOMAIN_NAME", "DATE_OF_BIRTH": "DATE_TIME"})
            ),
            "grammar": _counts(measure.personal(of(judged, "pii"), {})),
        },
        "secrets": _figures(measure.secrets(of(judged, "secrets"))),
    }
    if not FIRST.exists():
        FIRST.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    first = json.loads(FIRST.read_text(encoding="utf-8"))
    REPORT.write_text(report.render(first, figures, digests, __version__), encoding="utf-8")
    return _promises(figures, strict=options.check)


def _generate(folder: Path) -> dict[str, str]:
    command = [sys.executable, str(ROOT / "tools" / "detection_cases.py")]
    subprocess.run([*command, "--check"], check=True, capture_output=True)  # noqa: S603 - our own
    done = subprocess.run(  # noqa: S603 - our own
        [*command, str(folder)], check=True, capture_output=True, text=True
    )
    lines = [line.split() for line in done.stdout.splitlines() if line.strip()]
    return {name: digest for digest, name in lines}


def _sources(data: Path, examples: Path | None) -> dict[str, float]:
    script, rows = str(ROOT / "tools" / "train-injection"), str(data / "detection")
    command = [sys.executable, script, rows, "--check"]
    command += ["--examples", str(examples)] if examples else []
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own
    figures: dict[str, float] = json.loads(done.stdout)["figures"]
    return figures


def _counts(counts: dict[str, Counts]) -> dict[str, Any]:
    return {
        "micro": _figures(micro(counts)),
        "apart": _figures(micro(counts, apart=True)),
        "entities": {name: _figures(counts[name]) for name in sorted(counts)},
    }


def _figures(counts: Counts) -> dict[str, float]:
    return {"precision": counts.precision, "recall": counts.recall, "f1": counts.f1}


def _promises(figures: dict[str, Any], *, strict: bool) -> int:
    flat = {
        **figures["injection"],
        "personal_micro_f1_held_out": figures["personal"]["held_out"]["micro"]["f1"],
        "personal_micro_f1_grammar": figures["personal"]["grammar"]["micro"]["f1"],
        "secrets_f1_grammar": figures["secrets"]["f1"],
    }
    targets = {
        name: {"op": ">=", "value": value, "met": flat[name] >= value}
        for name, value in TARGETS.items()
    }
    print(
        json.dumps(
            {
                "command": "make eval-detection",
                "version": __version__,
                "figures": flat,
                "targets": targets,
            },
            indent=1,
        )
    )
    return 0 if all(target["met"] for target in targets.values()) or not strict else 1


if __name__ == "__main__":
    sys.exit(main())
