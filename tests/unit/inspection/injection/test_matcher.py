from pathlib import Path

import pytest

from portcullis.inspection.injection.intents import Rule
from portcullis.inspection.injection.matcher import Matcher, matcher, words

PHRASES = [b"all of", b"now", b"one two three"]
RULES = [
    Rule("a/x", "a", b"[^0-9a-z]go[.]", gated=False),
    Rule("b/x", "b", b"[^0-9a-z]stop ", gated=True),
]


def both(folder: Path | None = None) -> list[Matcher]:
    return [
        matcher(PHRASES, RULES, b"gate", folder=folder, accelerated=fast) for fast in (True, False)
    ]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b" all of it now ", {0, 1}),
        (b" all  of. ", set()),
        (b" all:of ", set()),
        (b" nowhere know ", set()),
        (b"now", set()),
        (b" now.", {1}),
        (b" one two three ", {2}),
        (b" go. stop it ", {3}),
        (b" go. stop gate ", {3, 4}),
        (b"", set()),
    ],
)
def test_both_engines_find_whole_phrases_and_gated_rules(data: bytes, found: set[int]) -> None:
    for engine in both():
        assert set(engine.find(data)) == found


def test_phrases_are_words_with_one_space_between() -> None:
    assert [phrase for _, phrase in words(b" a b. c ")] == [b"a", b"a b", b"b", b"c"]
    assert [phrase for _, phrase in words(b" a b c d ")][:3] == [b"a", b"a b", b"a b c"]


def test_a_damaged_database_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    both(folder)
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    assert len(kept) == 2
    for path in kept:
        path.write_bytes(b"x" * 50)
    assert set(both(folder)[0].find(b" now gate stop ")) == {1, 4}
    assert all(path.stat().st_size == len(data) for path, data in kept.items())


def test_a_folder_that_cannot_be_written_is_no_fault(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert set(both(blocked)[0].find(b" now ")) == {1}
