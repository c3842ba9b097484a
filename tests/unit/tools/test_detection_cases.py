import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[3] / "tools" / "detection_cases.py"
SIZES = {
    "indirect_marked": 1000,
    "indirect_unmarked": 200,
    "direct": 220,
    "benign_tool": 2400,
    "benign_document": 2400,
    "benign_user": 1200,
    "hard_negative": 700,
    "pii": 2200,
    "secrets": 1100,
}
FIELDS = {"id", "set", "text", "source", "label", "kind", "spans"}
NUMBERS = {"CREDIT_CARD", "IBAN_CODE", "DE_TAX_ID", "PL_PESEL", "IMEI"}


def test_the_evaluation_sets_are_still_the_frozen_ones():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_row_is_complete_and_every_span_covers_a_value(tmp_path):
    subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, check=True)
    for name, size in SIZES.items():
        content = (tmp_path / f"{name}.jsonl").read_text(encoding="utf-8")
        rows = [json.loads(line) for line in content.split("\n") if line]
        assert len(rows) == size
        assert Counter(len({row[key] for row in rows}) for key in ("id", "text")) == {size: 2}
        for row in rows:
            assert row.keys() == FIELDS
            assert row["set"] == name
            assert row["source"] in {"user", "tool", "document", "model"}
            for span in row["spans"]:
                value = row["text"][span["start"] : span["end"]]
                assert value
                assert value == value.strip()
                assert span["entity"] not in NUMBERS or any(c.isdigit() for c in value)
