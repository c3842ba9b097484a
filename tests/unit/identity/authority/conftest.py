import time

import pytest

from authorities import World


@pytest.fixture
def world(tmp_path):
    """At a time of its own."""
    return World(tmp_path, 1_900_000_000.25)


@pytest.fixture
def present(tmp_path):
    """At the time of this machine, for what looks at the machine's clock itself."""
    return World(tmp_path, time.time())
