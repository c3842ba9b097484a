"""What the pages tell a reader to do works, from top to bottom, on a real gate."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from docs_programs import programs
from docs_reader import Reader

DOCS = Path(__file__).parents[2] / "docs"
READINGS = {
    "demo": {"quickstart.md": 8, "how-to/developer.md": 10, "how-to/auditor.md": 10},
    "operator": {"how-to/operator.md": 20, "how-to/frameworks.md": 7},
    "tester": {"how-to/tester.md": 6},
}
"""Pages that are read one after the other, and how many commands each has at least."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    with programs(tmp_path_factory.mktemp("programs")) as said:
        yield said


@pytest.mark.timeout(240)
@pytest.mark.parametrize("pages", READINGS.values(), ids=READINGS)
def test_whoever_follows_a_page_gets_what_it_says(tmp_path, loaded, pages):
    with ExitStack() as stack:
        reader = Reader(tmp_path, stack, loaded)
        for page, least in pages.items():
            assert reader.follow(DOCS / page) >= least
