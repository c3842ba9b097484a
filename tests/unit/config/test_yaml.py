"""If these fail, a file says something else to its author than to the gate."""

from importlib import resources

import pytest

from portcullis.config.yaml import MAX_DEPTH, Unreadable, compose, construct
from portcullis.core.errors import Problem
from portcullis.inspection import packs

SHIPPED = [
    place
    for folder in ("", "cli/templates", "demo/policy", "inspection/injection", "inspection/packs")
    for place in resources.files("portcullis").joinpath(folder).iterdir()
    if place.name.endswith(".yaml")
]


@pytest.mark.parametrize(
    ("text", "place", "says", "hint"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", (5, 3), "c is named twice", "in line 3 already"),
        ("- {a: 1, 'a': 2}", (1, 10), "a is named twice", "in line 1 already"),
        ("b: *x\n", (1, 4), "an alias of nothing", "Write it out"),
        ("b: &x [*x]\n", (1, 8), "an alias of nothing", "Write it out"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", (3, 3), "nothing is merged", "Write the members"),
        ("a: &x b\nc: {b: 1, *x : 2}\n", (2, 11), "b is named twice", "in line 2"),
        ("on: 1\n", (1, 1), "expected a string", "Quote it"),
        ("{[a]: 1}\n", (1, 2), "expected a string", "Quote it"),
        ("a: !!str 1\n", (1, 4), "tags", "quote"),
        ("a: !x 1\n", (1, 4), "tags", "quote"),
        ("a: 1\n---\na: 2\n", (2, 1), "a second document", "file of its own"),
        ("a:\n\t- 1\n", (2, 1), "not YAML", "spaces"),
        ("[" * (MAX_DEPTH + 2), (1, MAX_DEPTH + 2), "nested too deeply", str(MAX_DEPTH)),
        ("a: \x07\n", (1, 1), "does not allow", "Take it out"),
        ("a: 1\nb: [2026-13-45]\n", (2, 5), "is none", "Quote it"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_at_its_place_with_a_hint(
    text, place, says, hint
):
    with pytest.raises(Unreadable) as refused:
        construct(compose(text))
    found = refused.value
    assert (found.line, found.column) == place
    assert says in found.reason
    assert hint in found.hint


def test_what_is_said_once_is_read_as_it_is_written():
    text = "a: [1, -2.5, yes, ~, 'no', \"x\\u00e9\"]\nb: {c: |\n    two\n    lines\n  }\n"
    said = construct(compose(text.replace("{c: |\n    two\n    lines\n  }", "\n  c: |\n    two\n")))
    assert said == {"a": [1, -2.5, True, None, "no", "xé"], "b": {"c": "two\n"}}
    assert construct(compose("# nothing\n")) is None
    assert construct(compose("a: &x [1]\nb: *x\n")) == {"a": [1], "b": [1]}
    with pytest.raises(Unreadable, match="anchors and aliases"):
        compose("a: &x [1]\n", aliases=False)


@pytest.mark.parametrize("place", SHIPPED, ids=lambda place: place.name)
def test_what_is_shipped_names_nothing_twice(place):
    assert compose(place.read_text(encoding="utf-8")) is not None


def test_a_rule_that_says_something_twice_is_not_loaded(tmp_path):
    pack = tmp_path / "own.yaml"
    pack.write_text("pack: own\nrules:\n  - id: a\n    pattern: x\n    pattern: y\n")
    with pytest.raises(Problem) as refused:
        packs.load(pack)
    assert refused.value.code == "PC7014"
    assert refused.value.detail == "own.yaml:5: pattern is named twice"
    assert refused.value.hint == "It stands in line 4 already."
