"""If this fails, the first thing that somebody types is silent for a minute."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_whoever_installs_is_told_that_it_takes_a_while():
    made = subprocess.run(
        ["make", "--dry-run", "--what-if=requirements/run.txt", "setup"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    said, _, rest = made.stdout.partition("about a minute")
    assert "pip install" not in said
    assert "pip install" in rest
