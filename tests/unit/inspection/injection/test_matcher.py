from pathlib import Path

import pytest

from portcullis.inspection.injection.intents import Rule
from portcullis.inspection.injection.matcher import Matcher, matcher

RULES = [
    Rule("a/x", "a", b"[^0-9a-z]go[.]", gated=False),
    Rule("b/x", "b", b"[^0-9a-z]stop ", gated=True),
]


def both(folder: Path | None = None) -> list[Matcher]:
    return [matcher(RULES, b"gate", folder=folder, accelerated=fast) for fast in (True, False)]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b" gone ", set()),
        (b" go. stop it ", {0}),
        (b" go. stop gate ", {0, 1}),
        (b" stop gate ", {1}),
        (b"", set()),
    ],
)
def test_both_engines_find_rules_and_gated_ones_behind_their_gate(
    data: bytes, found: set[int]
) -> None:
    for engine in both():
        assert set(engine.find(data)) == found


def test_a_damaged_database_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    both(folder)
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    assert len(kept) == 2
    for path in kept:
        path.write_bytes(b"x" * 50)
    assert set(both(folder)[0].find(b" now gate stop ")) == {1}
    assert all(path.stat().st_size == len(data) for path, data in kept.items())


def test_a_folder_that_cannot_be_written_is_no_fault(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert set(both(blocked)[0].find(b" go. ")) == {0}
