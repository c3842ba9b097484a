"""A deliberately weak box, in a throw-away root."""

import tempfile
from pathlib import Path

import pytest

from weak_boxes import WeakSandbox


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture
def weak():
    # Not below tmp_path: the unprivileged user has to get there.
    with tempfile.TemporaryDirectory(prefix="portcullis-weak-") as name:
        Path(name).chmod(0o755)
        yield WeakSandbox(Path(name) / "root")
