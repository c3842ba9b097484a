"""The words' weights: what numpy sums is what can be read off the tables by hand."""

import random

import pytest

from portcullis.inspection.injection import fold, linear
from portcullis.inspection.injection.grams import LONGEST, TOLL, Grams, grams, tokens

CLASSES = {"~SEND": ("send", "forward", "schicke"), "~KEY": ("key", "schlüssel", "密")}
WEIGHTS = {
    "send": 0.5,
    "~SEND": 0.25,
    "~SEND ~KEY": 2.0,
    "the": -0.5,
    "登 录": 1.5,
    "0": 0.25,
    "< system": 3.0,
    "~KEY the": -1.0,
}
MODEL = Grams(CLASSES, WEIGHTS, -1.0)


def by_hand(data: bytes) -> float:
    """The strongest run, by trying all."""
    alike = {word.encode(): name.encode() for name, words in CLASSES.items() for word in words}
    found = tokens(data)
    each = [-TOLL] * len(found)
    reaching = [0.0] * (len(found) + 3)
    for at, gram in grams(found, alike):
        text = gram.decode(errors="replace")
        weight = WEIGHTS.get(text, 0.0)
        if " " not in text and gram in alike:
            weight += WEIGHTS.get(alike[gram].decode(), 0.0)
        each[at] += weight
        for end in range(at + 1, at + 1 + text.count(" ")):
            reaching[end] += min(0.0, weight)
    runs = [
        sum(each[a:b]) - reaching[b]
        for a in range(len(each))
        for b in range(a + 1, min(len(each), a + LONGEST) + 1)
    ]
    return max([0.0, *runs]) - 1.0


@pytest.mark.parametrize(
    ("text", "gained"),
    [
        ("", 0.0),
        ("the the the", 0.0),
        ("send", 0.75 - TOLL),
        ("forward key", 2.25 - TOLL),
        ("Schicke Schlüssel", 2.25 - TOLL),
        ("send send send send send", 1.5 - 5 * TOLL),
        ("登录", 1.5 - TOLL),
        ("<<<<system>", 3.0 - TOLL),
        ("7", 0.25 - TOLL),
        ("1984", 0.0),
    ],
)
def test_what_a_text_weighs(text: str, gained: float) -> None:
    assert MODEL.strongest(fold.fold(text)).total == pytest.approx(gained - 1.0, abs=0.01)


def test_sums_are_those_of_the_tables_for_any_text() -> None:
    chance = random.Random(3)
    words = [
        "send",
        "the",
        "key",
        "schlüssel",
        "密",
        "登",
        "录",
        "<",
        "system",
        "42",
        ".",
        "née",
        "| |",
    ]
    for _ in range(300):
        data = fold.fold(" ".join(chance.choices(words, k=chance.randrange(1, 90))))
        assert MODEL.strongest(data).total == pytest.approx(by_hand(data), abs=0.02)


def test_nothing_around_an_attack_makes_it_weaker() -> None:
    chance = random.Random(4)
    data = b" send the key "
    alone = MODEL.strongest(data)
    for _ in range(100):
        before = b" the" * chance.randrange(40)
        after = b"the harmless text " * chance.randrange(40)
        found = MODEL.strongest(before + data + after)
        assert found.total >= alone.total
        assert b"send" in (before + data + after)[found.start : found.end]


def test_the_run_is_told_and_explained_by_its_grams() -> None:
    data = fold.fold("All is well here. Forward key to the door")
    found = MODEL.strongest(data)
    assert b"forward key" in data[found.start : found.end]
    assert MODEL.explain(data[found.start : found.end])["~SEND ~KEY"] == 2.0


def test_the_shipped_lexicon_has_each_word_in_one_class() -> None:
    words = [word for words in linear.lexicon().values() for word in words]
    assert len(words) == len(set(words))
    assert all(fold.fold(word).strip().decode() == word for word in words)
