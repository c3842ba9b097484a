"""What the pages tell a reader to do works, from top to bottom, on a real gate."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from docs_reader import Reader

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    "quickstart.md": 10,
    "how-to/operator.md": 20,
    "how-to/developer.md": 10,
    "how-to/auditor.md": 10,
    "how-to/tester.md": 6,
}


@pytest.mark.parametrize(("page", "least"), PAGES.items(), ids=PAGES)
def test_whoever_follows_a_page_gets_what_it_says(tmp_path, page, least):
    with ExitStack() as stack:
        assert Reader(tmp_path, stack).follow(DOCS / page) >= least
