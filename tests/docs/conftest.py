"""The pages, built once."""

import fcntl
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def site():
    """The folder of the built pages; a dead link or an unknown name ends the build.

    One worker builds at a time; for the others nothing is left to do.
    """
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build/docs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = subprocess.run(
            ["make", "--silent", "docs-site"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    assert built.returncode == 0, built.stderr
    return ROOT / "build/docs"
