"""Streams and prefilters change when something is found, never what."""

from __future__ import annotations

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from portcullis.core.inspection import Category, Match
from portcullis.inspection import packs
from portcullis.inspection.patterns import Patterns
from portcullis.inspection.rules import Rule
from unit.inspection.engine.making import shipped


@cache
def pieces() -> list[str]:
    """What the packs' own examples hold, and what glues texts together."""
    found = [
        packs.joined(example).replace("«", "").replace("»", "")
        for rule in packs.select(packs.builtin())
        for example in (*rule.match, *rule.reject)
    ]
    words = [word for rule in packs.select(packs.builtin()) for word in rule.context]
    glue = [" ", "", "\n", ".", "-", "é", "\U0001f600", "_", "the ", ": ", "12", "AB", '"', "/"]
    return found + words + glue * 20


texts = st.lists(st.deferred(lambda: st.sampled_from(pieces())), max_size=12).map("".join)
cuts = st.one_of(
    st.just([1] * 4000), st.lists(st.integers(1, 40), min_size=1, max_size=60), st.just([10**6])
)


def streamed(patterns: Patterns, text: str, sizes: list[int]) -> tuple[Match, ...]:
    """What a stream of these pieces finds, after checking that nothing was let go too early."""
    stream = patterns.stream()
    found: list[Match] = []
    fed = settled = index = 0
    while fed < len(text):
        size = sizes[index % len(sizes)]
        step = stream.feed(text[fed : fed + size])
        fed += size
        index += 1
        assert settled <= step.settled <= min(fed, len(text))
        assert all(settled <= one.start and one.end <= step.settled for one in step.matches)
        settled = step.settled
        found += step.matches
    step = stream.end()
    assert step.settled == len(text)
    assert all(settled <= one.start and one.end <= step.settled for one in step.matches)
    return (*found, *step.matches)


@settings(max_examples=60, deadline=None)
@given(text=texts, sizes=cuts)
def test_a_datum_cut_anywhere_over_any_pieces_is_found_as_in_the_whole(
    text: str, sizes: list[int]
) -> None:
    assert streamed(shipped(), text, sizes) == shipped().scan([text])[0]


@settings(max_examples=60, deadline=None)
@given(some=st.lists(texts, max_size=4))
def test_a_machine_without_hyperscan_finds_the_same(some: list[str]) -> None:
    assert shipped(accelerated=False).scan(some) == shipped().scan(some)


letters = st.sampled_from(["a", "b", "1", "é", "[ab]", "[^a]", ".", r"\w", "[a-cé]", " "])


def _repeated(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    counts = st.sampled_from(["?", "{1,3}", "{0,2}", "{2}", "{1,2}?", "??"])
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("(?:{0[0]}|{0[1]})".format),
        st.tuples(inner, counts).map("(?:{0[0]}){0[1]}".format),
    )


expressions = st.recursive(letters, _repeated, max_leaves=6)
edges = st.sampled_from(["word", "digit", "any"])


@st.composite
def rule(draw: st.DrawFn, number: int) -> Rule | None:
    """A rule of an arbitrary grammar; None when the grammar matches nothing at all."""
    grouped = draw(st.booleans())
    middle = draw(expressions)
    pattern = f"{draw(expressions)}({middle}){draw(expressions)}" if grouped else middle
    one = Rule(
        id=f"rule-{number}",
        entity=f"ENTITY_{number}",
        category=Category.PERSONAL,
        pattern=pattern,
        left=draw(edges),
        right=draw(edges),
        group=int(grouped),
        context=draw(st.sampled_from([(), (), ("ab",), ("1", "é")])),
        within=draw(st.integers(1, 6)),
        required=None,
        validator=draw(st.sampled_from(["", "", "digit", "mixed"])),
    )
    try:
        assert one.parsed
    except ValueError:
        return None
    return one


@st.composite
def some_rules(draw: st.DrawFn) -> list[Rule]:
    return [one for number in range(draw(st.integers(1, 3))) if (one := draw(rule(number)))]


@settings(max_examples=100, deadline=None)
@given(
    rules=some_rules(),
    text=st.text("ab1é _\n", max_size=40),
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=8),
    accelerated=st.sampled_from([False, None]),
)
def test_rules_of_any_grammar_find_the_same_in_pieces_and_with_either_prefilter(
    rules: list[Rule], text: str, sizes: list[int], *, accelerated: bool | None
) -> None:
    patterns = Patterns(rules, accelerated=accelerated)
    found = Patterns(rules, accelerated=False).scan([text])[0]
    assert patterns.scan([text])[0] == found
    assert streamed(patterns, text, sizes) == found
