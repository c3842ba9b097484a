"""Data access and obligations against other readings: a few lines of Python, which know only the
documentation, regorus' interpreter, which evaluates the same Rego by other means, and OPA."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effort import examples
from opa import needs_opa, opa
from policies import call, context, policy_of, session_of
from portcullis.core.verdict import Allow
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.pdp import RegoPdp
from property.policy.test_decisions import Interpreter

VALUES = st.sampled_from(["a", "b", "c", 1, 2])
GRANTED = st.lists(VALUES, min_size=1, max_size=3, unique=True) | st.just(["*"])
GRANTED |= st.just(["session.subject.s"])
PEOPLE = st.integers(1, 2)
OBLIGED = st.none() | st.fixed_dictionaries(
    {"log": st.lists(st.sampled_from("xyz"), max_size=2, unique=True)},
    optional={
        "approvers": PEOPLE
        | st.dictionaries(st.sampled_from(["read", "modify"]), PEOPLE, min_size=1),
        "mask": st.dictionaries(
            st.sampled_from(["m", "*.n", "o[].p"]), st.sampled_from(["mask", "drop"]), min_size=1
        ),
    },
)
ASKED = st.none() | VALUES | st.booleans() | st.lists(VALUES, max_size=2) | st.just({})


@st.composite
def policies(draw):
    obliged = {name: draw(OBLIGED) for name in ("role", "grant", "tool")}
    grant = {"tool": "one.t"} | ({"obligations": obliged["grant"]} if obliged["grant"] else {})
    secrets = draw(st.booleans())
    role = {
        "allowed_tools": [grant],
        "data_access": {"d": draw(GRANTED), "secret": secrets, "plain": not secrets},
    }
    kinds = {"argument": "k", "classes": {"secret": ["s"], "plain": ["p", 2]}, "results": "[].k"}
    data = {"d": {"argument": "n", "everything": "all", "results": "[].n"}, "kinds": kinds}
    tool = {"risk": draw(st.sampled_from(["read", "modify"])), "data": data}
    role |= {"obligations": obliged["role"]} if obliged["role"] else {}
    tool |= {"obligations": obliged["tool"]} if obliged["tool"] else {}
    policy = {"agents": {"agent": {"role": "r"}}, "roles": {"r": role}, "tools": {"one.t": tool}}
    return {"version": 1} | policy, [one for one in obliged.values() if one]


def reaches(known, asked):
    """Whether what an argument says is among known values; nothing is not."""
    several = asked if isinstance(asked, list) else [asked]
    return bool(several) and all(
        isinstance(one, str | int) and not isinstance(one, bool) and one in known for one in several
    )


def oracle(policy, obliged, arguments, session):
    """What is owed, or None for a refusal."""
    access, tool = policy["roles"]["r"]["data_access"], policy["tools"]["one.t"]
    values, rows = access["d"], {}
    if values == ["session.subject.s"]:
        subject = {} if session is None else session.subject
        values = [subject["s"]] if type(subject.get("s")) in {str, int} else []
    if access["d"] != ["*"]:
        rows["d"] = values
        if arguments.get("all") not in (None, False) or not reaches(values, arguments.get("n")):
            return None
    rows["kinds"] = ["s"] if access["secret"] else ["p", 2]
    if not reaches(rows["kinds"], arguments.get("k")):
        return None
    people = [one.get("approvers", 0) for one in obliged]
    numbers = [one.get(tool["risk"], 0) if isinstance(one, dict) else one for one in people]
    log = {name for one in obliged for name in one["log"]}
    return max(numbers, default=0), log, rows, sum(len(one.get("mask", ())) for one in obliged)


SESSIONS = st.none() | st.builds(
    session_of,
    agent=st.just("agent"),
    subject=st.dictionaries(
        st.just("s"), VALUES | st.sampled_from([None, ["a"], True]), max_size=1
    ),
)
ARGUMENTS = st.dictionaries(st.sampled_from(["n", "all"]), ASKED).flatmap(
    lambda found: st.sampled_from(["s", "p", 2, None, ["p", "s"]]).map(lambda k: found | {"k": k})
)


@pytest.mark.nightly
@settings(max_examples=examples(10), deadline=None)
@given(policies(), st.lists(st.tuples(ARGUMENTS, SESSIONS), min_size=4, max_size=8))
def test_what_a_grant_owes_is_as_documented_and_as_the_interpreter_says(made, questions):
    decided(Interpreter(), made, questions)


@needs_opa
@pytest.mark.nightly
def test_what_a_grant_owes_is_as_opa_says():
    with opa() as peer:

        @settings(max_examples=examples(10), deadline=None)
        @given(policies(), st.lists(st.tuples(ARGUMENTS, SESSIONS), min_size=4, max_size=8))
        def alike(made, questions):
            decided(peer, made, questions)

        alike()


def decided(other, made, questions):
    """Hold our decisions against another engine's, and against the oracle."""
    policy, obliged = made
    compiled = policy_of(json.dumps(policy))
    pdp, second = RegoPdp(compiled, RegorusEngine()), RegoPdp(compiled, other)
    for arguments, session in questions:
        asked, around = call(target="one.t", arguments=arguments), context("agent", session)
        verdict = pdp.decide(asked, around)
        assert second.decide(asked, around) == verdict
        wanted = oracle(policy, obliged, arguments, session)
        assert isinstance(verdict, Allow) == (wanted is not None)
        if wanted is None:
            assert verdict.code == "PC3029"
            continue
        owed = verdict.obligations
        rows = {scope.name: list(scope.values) for scope in owed.rows}
        assert (owed.approvers, set(owed.log), rows, len(owed.mask)) == wanted
        assert set(owed.log) <= set(verdict.clear)
