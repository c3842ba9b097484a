"""Conditions against three other readings: their semantics in Python, regorus' interpreter, OPA."""

import contextlib
import json

import pytest
import regorus
from hypothesis import given, settings
from hypothesis import strategies as st

from effort import examples
from opa import needs_opa, opa
from policies import call, context, policy_of, session_of
from portcullis.core.verdict import Allow
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.pdp import RegoPdp

SCALARS = st.sampled_from([0, 1, 2, 2.5, True, False, "a", "b", "p/", "p/x", "p/../x", "", "1"])
VALUES = SCALARS | st.sampled_from([None, [], [1], ["a", "b"], [1, "a"], {}, {"n": 1}, {"n": "a"}])
ARGUMENTS = st.dictionaries(st.sampled_from("xyz"), VALUES, max_size=3)
PATHS = st.sampled_from(
    ["arguments.x", "arguments.y", "arguments.z.n", "arguments.y[0]"]
) | st.just("session.user")
LITERALS = st.sampled_from([0, 1, 2, 2.5, True, False, "a", "b", "1"])
NUMBERS = st.sampled_from([0, 1, 2, 2.5])
MISSING, UNKNOWN = object(), None


def text(value):
    return f"'{value}'" if isinstance(value, str) else json.dumps(value)


@st.composite
def atoms(draw):
    path = draw(PATHS)
    kind = draw(
        st.sampled_from(["cmp", "order", "in", "in path", "starts", "matches", "exists", "n"])
    )
    if kind == "cmp":
        other = draw(st.tuples(st.just("path"), PATHS) | st.tuples(st.just("value"), LITERALS))
        return (draw(st.sampled_from(["==", "!="])), path, other)
    if kind == "order":
        return (draw(st.sampled_from(["<", "<=", ">", ">="])), path, ("value", draw(NUMBERS)))
    if kind == "in":
        some = draw(st.lists(LITERALS, min_size=1, max_size=3))
        return (draw(st.sampled_from(["in", "not in"])), path, ("value", some))
    if kind == "in path":
        return (draw(st.sampled_from(["in", "not in"])), path, ("path", draw(PATHS)))
    if kind == "n":
        return ("count", path, ("value", draw(st.integers(0, 2))))
    return (kind, path, ("value", {"starts": "p/", "matches": "[a-b]+", "exists": ""}[kind]))


TREES = st.recursive(
    atoms(),
    lambda inner: (
        st.tuples(st.just("not"), inner)
        | st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3))
    ),
    max_leaves=6,
)


def written(tree):
    word = tree[0]
    if word == "not":
        return f"not ({written(tree[1])})"
    if word in {"and", "or"}:
        return f" {word} ".join(f"({written(one)})" for one in tree[1])
    _, path, (kind, other) = tree
    if word == "exists":
        return f"exists {path}"
    if word == "count":
        return f"count({path}) <= {other}"
    said = other if kind == "path" else text(other)
    if isinstance(other, list):
        said = f"[{', '.join(map(text, other))}]"
    return f"{path} {({'starts': 'startswith'}).get(word, word)} {said}"


def looked_up(path, arguments, user):
    if path == "session.user":
        return user
    value = arguments.get(path[10], MISSING)
    if path.endswith(".n"):
        return value.get("n", MISSING) if isinstance(value, dict) else MISSING
    if path.endswith("[0]"):
        return value[0] if isinstance(value, list) and value else MISSING
    return value


def kind_of(value):
    if isinstance(value, bool):
        return "truth"
    return {int: "number", float: "number", str: "text"}.get(type(value))


def compared(left, right):
    if kind_of(left) is None or kind_of(left) != kind_of(right):
        return UNKNOWN
    return left == right


def within(left, items):
    if not isinstance(items, list) or kind_of(left) is None:
        return UNKNOWN
    found = [compared(left, item) for item in items]
    return True if True in found else UNKNOWN if UNKNOWN in found else False


def turned(value):
    return UNKNOWN if value is UNKNOWN else not value


def judged(tree, arguments, user):
    """True, False or UNKNOWN, as docs/policy-language.md says."""
    word = tree[0]
    if word == "not":
        return turned(judged(tree[1], arguments, user))
    if word in {"and", "or"}:
        found = [judged(one, arguments, user) for one in tree[1]]
        settled = word == "or"
        return settled if settled in found else UNKNOWN if UNKNOWN in found else not settled
    return told(tree, arguments, user)


def told(tree, arguments, user):  # noqa: PLR0911 - one line per test, on purpose
    word, path, (kind, other) = tree
    left = looked_up(path, arguments, user)
    right = looked_up(other, arguments, user) if kind == "path" else other
    if word in {"==", "!="}:
        found = compared(left, right)
        return found if word == "==" else turned(found)
    if word in {"in", "not in"}:
        found = within(left, right)
        return found if word == "in" else turned(found)
    if word == "exists":
        return left is not MISSING and left is not None
    if word == "count":
        return len(left) <= right if isinstance(left, list | dict) else UNKNOWN
    if word in {"starts", "matches"}:
        if not isinstance(left, str):
            return UNKNOWN
        if word == "matches":
            return bool(left) and set(left) <= {"a", "b"}
        return (UNKNOWN if ".." in left else True) if left.startswith("p/") else False
    if kind_of(left) != "number":
        return UNKNOWN
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[word]


class Interpreter:
    """As in ``test_decisions``."""

    def compile(self, bundle):
        return b""

    def evaluate(self, policy, entry, asked):
        engine = regorus.Engine()
        for name, module in policy.bundle.modules:
            engine.add_policy(name, module)
        engine.add_data_json(policy.bundle.data)
        engine.set_input_json(asked.text)
        return engine.eval_rule_as_json(entry)


def compiled(trees):
    grants = [{"tool": f"kb.t{n}", "when": written(tree)} for n, tree in enumerate(trees)]
    role = {"allowed_tools": grants}
    return policy_of(
        json.dumps({"version": 1, "agents": {"a": {"role": "r"}}, "roles": {"r": role}})
    )


def agreed(trees, asked, *engines):
    policy = compiled(trees)
    for arguments, user in asked:
        around = context("a", session=session_of(agent="a", user=user))
        for number, tree in enumerate(trees):
            wanted = judged(tree, arguments, user) is True
            question = call(target=f"kb.t{number}", arguments=arguments)
            for engine in engines:
                verdict = RegoPdp(policy, engine, remember=0).decide(question, around)
                assert isinstance(verdict, Allow) is wanted, (written(tree), arguments, engine)
            if wanted:
                shown = RegoPdp(policy, engines[0]).visible("tools", "kb", [f"t{number}"], around)
                assert shown == {f"t{number}"}


ASKED = st.lists(st.tuples(ARGUMENTS, st.sampled_from(["a", "ada"])), min_size=1, max_size=4)


@pytest.mark.nightly
@settings(max_examples=examples(25), deadline=None)
@given(st.lists(TREES, min_size=1, max_size=4), ASKED)
def test_a_condition_holds_as_documented_and_as_the_interpreter_judges(trees, asked):
    agreed(trees, asked, RegorusEngine(), Interpreter())


@needs_opa
@pytest.mark.nightly
def test_a_condition_holds_as_opa_judges():
    with contextlib.ExitStack() as stack:
        peer = stack.enter_context(opa())

        @settings(max_examples=examples(25), deadline=None)
        @given(st.lists(TREES, min_size=4, max_size=8), ASKED)
        def held(trees, asked):
            agreed(trees, asked, RegorusEngine(), peer)

        held()
