from __future__ import annotations

import pytest

from portcullis.inspection.patterns import Patterns
from unit.inspection.engine import making


@pytest.fixture
def shipped() -> Patterns:
    return making.shipped()
