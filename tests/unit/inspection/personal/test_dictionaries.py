"""A customer's own phrases: found whole, in either case, also where a stream cuts them."""

from __future__ import annotations

import pytest

from portcullis.core.errors import Problem
from portcullis.core.inspection import Category
from portcullis.inspection import dictionaries
from portcullis.inspection.patterns import Patterns


def written(tmp_path, text):
    path = tmp_path / "names.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_phrases_are_found_as_whole_words_in_either_case(tmp_path):
    path = written(tmp_path, "# ours\nAda Lovelace\nAda\n\nZoë  Müller\nR.U.R. (1920)\nAda\n")
    patterns = Patterns(dictionaries.rules({"CUSTOMER": path}), accelerated=False)
    text = "ADA lovelace, ada\u2019s Zoë\nmüller saw R.U.R. (1920), not Adam or R1U1R"
    found = [text[one.start : one.end] for one in patterns.scan([text])[0]]
    assert found == ["ADA lovelace", "ada", "Zoë\nmüller", "R.U.R. (1920)"]


def test_the_entity_keeps_its_category(tmp_path):
    path = written(tmp_path, "Project Nightjar\n")
    (rule,) = dictionaries.rules({"CODENAME": path}, {"CODENAME": Category.TECHNICAL})
    assert (rule.entity, rule.category) == ("CODENAME", Category.TECHNICAL)
    assert dictionaries.rules({"CODENAME": path})[0].category is Category.PERSONAL


def test_thousands_of_phrases_are_all_found(tmp_path):
    phrases = [f"client {number:05d}" for number in range(3000)]
    path = written(tmp_path, "\n".join(phrases))
    patterns = Patterns(dictionaries.rules({"CUSTOMER": path}), accelerated=False)
    text = "; ".join(phrases[::7])
    assert len(patterns.scan([text])[0]) == len(phrases[::7])
    assert patterns.scan(["no client of ours, 12345 or clients"])[0] == ()


def test_a_phrase_cut_by_a_stream_is_found(tmp_path):
    path = written(tmp_path, "Ada Lovelace\nGrace Hopper\n")
    text = "ask Grace Hopper today"
    for cut in range(1, len(text)):
        stream = Patterns(dictionaries.rules({"PERSON": path}), accelerated=False).stream()
        steps = [stream.feed(text[:cut]), stream.feed(text[cut:]), stream.end()]
        found = [(one.start, one.end) for step in steps for one in step.matches]
        assert found == [(4, 16)]


@pytest.mark.parametrize(
    ("text", "place"), [("ok name\nx\n", "names.txt:2"), ("a" * 101, "names.txt:1")]
)
def test_a_phrase_that_would_match_everywhere_is_refused_with_its_line(tmp_path, text, place):
    with pytest.raises(Problem) as raised:
        dictionaries.rules({"CUSTOMER": written(tmp_path, text)})
    assert raised.value.code == "PC7014"
    assert place in raised.value.detail


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(Problem) as raised:
        dictionaries.rules({"CUSTOMER": tmp_path / "none.txt"})
    assert raised.value.code == "PC7014"
