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
        ("1: 1\n", (1, 1), "expected a string", "Quote it"),
        ("on: 1\n", (1, 1), "a truth value to some", "Quote it, or write true"),
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


@pytest.mark.parametrize(
    ("scalar", "says", "hint"),
    [
        *(
            (word, "truth value", "true or false")
            for word in ("yes", "no", "on", "No", "OFF", "Off")
        ),
        *(
            (number, "not the same number", "decimal")
            for number in (
                "010",
                "08",
                "0x1f",
                "0o17",
                "0b1",
                "1_000",
                "12:30",
                "1:30.5",
                "1e3",
                "1.0e3",
            )
        ),
        *((number, "not a finite", "Quote") for number in (".nan", ".inf", "-.INF")),
        *(
            (number, "64 bits", "Quote")
            for number in ("9" * 20, "9" * 5000, "1.0e+999", "-" + "9" * 19)
        ),
    ],
)
def test_what_versions_of_yaml_read_otherwise_is_refused_unless_it_is_quoted(scalar, says, hint):
    for text in (f"a: {scalar}\n", f"a: [b, {scalar}]\n", f"a: {{b: {scalar}}}\n"):
        with pytest.raises(Unreadable) as refused:
            compose(text)
        assert says in refused.value.reason
        assert hint in refused.value.hint
        assert refused.value.column == text.index(scalar) + 1
        assert scalar not in f"{refused.value.reason} {refused.value.hint}".split()
    assert construct(compose(f"a: '{scalar}'\nb: \"{scalar}\"\n")) == {"a": scalar, "b": scalar}
    assert construct(compose(f"a: |-\n  {scalar}\n")) == {"a": scalar}


def test_off_is_a_word_and_true_and_false_are_none():
    said = construct(
        compose("{keep: off, a: true, b: False, c: +5, d: .5, e: -1.5e+3, f: 0, off: 2.}")
    )
    assert said == {
        "keep": "off",
        "a": True,
        "b": False,
        "c": 5,
        "d": 0.5,
        "e": -1500,
        "f": 0,
        "off": 2,
    }
    assert construct(compose(f"[{2**63 - 1}, {-(2**63 - 1)}]")) == [2**63 - 1, 1 - 2**63]
    words = "[a:b, 1.2.3, 10.0.0.0/8, 127.0.0.1:8080, 5s, 08a, e3, offset, nothing, -, 0-9, 1e]"
    assert construct(compose(words)) == words.strip("[]").split(", ")


def test_what_is_said_once_is_read_as_it_is_written():
    text = "a: [1, -2.5, true, ~, 'no', \"x\\u00e9\"]\nb: {c: |\n    two\n    lines\n  }\n"
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
