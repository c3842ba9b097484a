"""However a log is cut into looks, the facts are those of one pass."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from portcullis.review.facts import Facts
from portcullis.review.fold import Fold
from unit.review.making import ORIGIN, admin, created, entry, event, facts, result

NAMES = st.sampled_from(["a", "b", "c"])
EVENTS = st.lists(
    st.one_of(
        st.builds(
            lambda p, v, f: lambda n: event(n, principal=p, verdict=v, findings=f),
            NAMES,
            st.sampled_from(["allow", "deny"]),
            st.sampled_from([(), ("EMAIL:mask@a",), ("IBAN@b", "X:wrap@c")]),
        ),
        st.builds(lambda d: lambda n: result(n, d), st.integers(0, 12)),
        st.builds(lambda p, o: lambda n: created(n, f"agent:{p}", owner=o), NAMES, NAMES),
        st.builds(
            lambda p, verb: lambda n: admin(n, f"principals.{verb}", f"agent:{p}"),
            NAMES,
            st.sampled_from(["suspend", "resume", "review", "expire", "revoke"]),
        ),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.lists(st.integers(0, 12), max_size=3))
def test_facts_do_not_depend_on_when_the_gate_looked(made, cuts):
    events = [make(number) for number, make in enumerate(made)]
    found = Facts(origin=ORIGIN)
    edges = [0, *sorted(cuts), len(events)]
    for begin, end in pairwise(edges):
        fold = Fold(found)
        for one in events[begin : max(begin, end)]:
            fold.add(entry(one))
        found = msgspec.json.decode(msgspec.json.encode(fold.facts()), type=Facts)
    assert found == facts(events[: found.size])
    assert found.size == len(events)
    decided = sum(one.type == "tool_call" for one in events)
    assert sum(t.count for kind, t in found.kinds if kind.type == "tool_call") == decided
