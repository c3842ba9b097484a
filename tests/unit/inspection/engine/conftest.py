from __future__ import annotations

import pytest

from portcullis.inspection import packs
from portcullis.inspection.patterns import Patterns


@pytest.fixture(scope="session")
def shipped() -> Patterns:
    return Patterns(packs.select(packs.builtin()))
