import re

import pytest

from portcullis.core.errors import Problem
from portcullis.inspection.injection import intents

INTENT = "orders"


def grammar(pattern: str, **words: str) -> intents.Grammar:
    language = {"words": words, "rules": {"order": [pattern]}}
    return intents.parse({"intents": {"order": INTENT}, "languages": {"en": language}})


def test_every_shipped_intent_is_used_and_every_language_is_there() -> None:
    shipped = intents.builtin()
    rules = intents.rules(shipped)
    assert {rule.intent for rule in rules} == set(shipped.intents)
    expected = {"any", "en", "de", "fr", "es", "it", "pt", "nl", "pl", "ru", "zh", "ja"}
    assert set(shipped.languages) == expected
    core = {"override", "supersede", "attention", "addressee", "exfiltrate", "hide", "extract"}
    for name in expected - {"any"}:
        assert core <= set(shipped.languages[name].rules)


def test_words_gaps_and_spaces_are_written_out() -> None:
    (rule,) = intents.rules(grammar("{do} ~9 it now", do="do|make"))
    assert rule.id == "order/en"
    assert b"(?:do|make)" in rule.pattern
    assert b"{0,9}" in rule.pattern
    assert b" " not in rule.pattern


@pytest.mark.parametrize("pattern", ["a+", "a*", "^a", "a$", r"\ba", "a{2,}", "[éa]", "a~3b"])
def test_a_pattern_that_could_run_away_or_look_around_is_refused(pattern: str) -> None:
    with pytest.raises(Problem, match="PC7014"):
        intents.rules(grammar(pattern))


def test_unknown_words_and_intents_are_refused() -> None:
    with pytest.raises(Problem, match="PC7014"):
        intents.rules(grammar("{who} does"))
    with pytest.raises(Problem, match="PC7014"):
        intents.parse({"intents": {}, "languages": {"en": {"rules": {"order": ["a"]}}}})
    with pytest.raises(Problem, match="PC7014"):
        intents.parse({"intents": {}})


def test_words_that_many_rules_end_with_are_no_literals_and_match_as_they_are_written() -> None:
    (rule,) = intents.rules(grammar(r"(?:ignor(?:e|a)) ~9 (?:[a-c]prompts|orders?\x2e{2,3})"))
    assert b"ignor" in rule.pattern
    assert b"prompt" not in rule.pattern
    found = re.compile(rule.pattern)
    for text in (b" ignore my aprompts ", b" ignora orders... ", b" ignore order.. "):
        assert found.search(text)
    for text in (b" ignore my prompts ", b" ignore orders. ", b" ignore p\0o\0p\0s "):
        assert not found.search(text)
