"""Hand-written packages refuse, whatever else grants it, and can do nothing else."""

import time

import pytest

from opa import needs_opa, opa
from policies import call, context, policy_of
from portcullis.core.errors import Problem
from portcullis.core.verdict import Allow
from portcullis.policy import custom
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.loops import cost
from portcullis.policy.pdp import RegoPdp
from portcullis.policy.source import read

MAIN = """\
version: 1
agents: {a: {role: r}}
roles: {r: {allowed_tools: [kb.a, kb.b], denied_tools: [kb.c], models: [gpt-*]}}
"""
NIGHT = """\
package portcullis.custom.night

import rego.v1

limit := 5 if input.action == "tool"

big if {
	asked := input.arguments.n
	asked > limit
}

deny contains {"reason": "too much at once", "code": "PC3012"} if big

deny contains {"reason": "not b"} if {
	input.action == "tool"
	input.name == "b"
}

deny contains {"reason": "no such names"} if startswith(input.arguments.s, "x")

deny contains {"reason": "no mini"} if {
	input.action == "model"
	endswith(input.name, "-mini")
}
"""


def pdp_with(*rego):
    names = ("main.yaml", *(f"r{n}.rego" for n in range(len(rego))))
    return RegoPdp(policy_of(MAIN, *rego, names=names), RegorusEngine())


def refused(*rego):
    with pytest.raises(Problem) as caught:
        pdp_with(*rego)
    return caught.value


def test_a_denial_wins_over_every_grant_and_says_its_line():
    pdp = pdp_with(NIGHT)

    def decided(target, action="tool", **arguments):
        return pdp.decide(call(action, target=target, arguments=arguments), context("a"))

    assert isinstance(decided("kb.a"), Allow)
    assert isinstance(decided("kb.a", n=5), Allow)
    much = decided("kb.a", n=6)
    assert (much.code, much.reason) == ("PC3012", "too much at once")
    assert much.rule == "custom.night.deny @ policy/r0.rego:12"
    named = decided("kb.b")
    assert (named.code, named.rule) == ("PC3019", "custom.night.deny @ policy/r0.rego:14")
    assert decided("up.gpt-5-mini", "model").code == "PC3019"
    assert isinstance(decided("up.gpt-5", "model"), Allow)
    assert decided("kb.c").code == "PC3002"


def test_a_denial_that_goes_wrong_denies():
    wrong = pdp_with(NIGHT).decide(call(target="kb.a", arguments={"s": 5}), context("a"))
    assert wrong.code == "PC9001"


@needs_opa
def test_opa_denies_by_the_published_bundle_what_the_gate_denies():
    policy = policy_of(MAIN, NIGHT, names=("main.yaml", "night.rego"))
    asked = [
        *(call(target=f"kb.{name}", arguments=one) for name in "abc" for one in ({}, {"n": 6})),
        *(call("model", target=f"up.{name}") for name in ("gpt-5", "gpt-5-mini")),
        call(target="kb.a", arguments={"s": "y"}),
        call(target="kb.a", arguments={"s": "xy", "n": 9}),
    ]
    with opa() as peer:
        for one in asked:
            ours = RegoPdp(policy, RegorusEngine()).decide(one, context("a"))
            assert RegoPdp(policy, peer).decide(one, context("a")) == ours


def test_two_packages_deny_together_and_a_policy_without_any_denies_nothing():
    other = NIGHT.replace("custom.night", "custom.day").replace('"b"', '"a"')
    pdp = pdp_with(NIGHT, other)
    assert {pdp.decide(call(target=f"kb.{n}"), context("a")).rule for n in "ab"} == {
        "custom.day.deny @ policy/r1.rego:14",
        "custom.night.deny @ policy/r0.rego:14",
    }
    assert isinstance(pdp_with().decide(call(target="kb.b"), context("a")), Allow)


def body(text):
    return f'package portcullis.custom.k\n\ndeny contains {{"reason": "no"}} if {{\n\t{text}\n}}\n'


@pytest.mark.parametrize(
    ("rego", "line", "says"),
    [
        ("package portcullis.custom.k\n", 1, "nothing here denies"),
        ("package portcullis\ndeny contains {} if true\n", 1, "not portcullis.custom.NAME"),
        ("package portcullis.custom.k.l\n", 1, "not portcullis.custom.NAME"),
        ("package portcullis.custom.k\nallow if true\n", 2, "only denies"),
        ("package portcullis.custom.k\nallow := true\n", 2, "only denies"),
        ("package portcullis.custom.k\ndeny if true\n", 2, "a set of objects"),
        ('package portcullis.custom.k\ndeny contains "x" if true\n', 2, "not a reason"),
        (
            'package portcullis.custom.k\ndeny contains {"reason": input.arguments.s} if true\n',
            2,
            "not a literal",
        ),
        (
            'package portcullis.custom.k\n\ndeny contains {"reason": "x", "code": "P"} if true\n',
            3,
            "no code of policy",
        ),
        ("package portcullis.custom.k\nimport data.policy\n", 2, "nothing is imported"),
        ("package portcullis.custom.k\ntest_x if true\n", 2, "*_test.rego"),
        (body("http.send({}) == 1"), 4, "http.send is not on the list"),
        (body("opa.runtime().env.HOME"), 4, "opa.runtime is not on the list"),
        (body("data.portcullis.decision.allow"), 4, "data.policy only"),
        (body("input.x with input as {}"), 4, "`with`"),
        (body("not startswith(input.arguments.s, `x`)"), 4, "may be undefined"),
        (body("not helper(input.session)"), 4, "may be undefined"),
        (body("input.x == "), 5, "not Rego v1"),
        (body("unknown == 1"), 4, "undefined variable"),
    ],
)
def test_what_a_package_may_not_do_is_refused_with_its_line(rego, line, says):
    problem = refused(rego)
    assert problem.code == "PC7018"
    assert f"policy/r0.rego:{line}:" in problem.detail
    assert says in problem.detail


def test_one_package_stands_in_one_file():
    assert "is also policy/r0.rego" in refused(NIGHT, NIGHT).detail


def test_the_folder_gives_rego_but_not_its_tests(tmp_path):
    for name, text in (("m.yaml", MAIN), ("n.rego", NIGHT), ("n_test.rego", "x")):
        (tmp_path / name).write_text(text)
    assert [file.name.rpartition("/")[2] for file in read(tmp_path)] == ["m.yaml", "n.rego"]


TWICE = """\
package portcullis.custom.twice

deny contains {"reason": "the same twice"} if {
	some i, a in input.arguments.l
	some j, b in input.arguments.l
	i != j
	a == b
}
"""


def test_no_arguments_make_a_decision_take_long():
    pdp = pdp_with(TWICE)

    def decided(items):
        return pdp.decide(call(target="kb.a", arguments={"l": items}), context("a"))

    assert isinstance(decided([*range(20)]), Allow)
    assert decided([*range(20), 3]).code == "PC3019"
    began = time.monotonic()
    assert decided([*range(3000)]).code == "PC9001"  # ten seconds of loops
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ("some a in input.arguments.l; some b in input.arguments.l; a == b", 2),
        ("some a in input.arguments.l; a in input.arguments.m", 2),
        ("input.arguments.l[_] == input.arguments.m[_]", 2),
        ("some i; input.arguments.l[i] == input.arguments.m[i]", 1),
        ("some a in input.arguments.l; first(a) == 1", 2),
        ("some p in pairs; some q in pairs; p != q", 6),
        ("every a in input.arguments.l { a > 0 }", 1),
        ('input.name in {"a", "b"}; count(pairs) > 3', 0),
        ('some a in data.policy.agents; a.role == "r"', 0),
    ],
)
def test_loops_are_counted_through_what_they_refer_to(body, asked):
    text = f"""\
package portcullis.custom.p

import rego.v1

pairs := [[a, b] | some a in input.arguments.l; some b in input.arguments.l]

first(list) := item if some item in list

deny contains {{"reason": "no"}} if {{ {body} }}
"""
    assert cost((text,), {}).rules[-1].asked == asked


def test_loops_without_an_end_are_refused_before_they_are_run():
    loops = "\n".join(f"\tsome a{n} in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]" for n in range(12))
    said = str(
        refused(
            f'package portcullis.custom.p\n\ndeny contains {{"reason": "x"}} if {{\n{loops}\n}}\n'
        )
    )
    assert "PC7018" in said
    assert "loops over its own lists" in said


def chain(length):
    links = "\n".join(f"r{n} if r{n + 1}" for n in range(length))
    return f'{links}\nr{length} if input.arguments.n\ndeny contains {{"reason": "x"}} if r0'


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ('f(x) if {\n\tx > 0\n\tf(x)\n}\ndeny contains {"reason": "x"} if f(1)', "calls itself"),
        (
            'f(x) if g(x)\n\ng(x) if f(x)\n\ndeny contains {"reason": "x"} if f(input.arguments.n)',
            "calls itself",
        ),
        (chain(5000), "more than 64 deep"),
        (
            'deny contains {"reason": "x"} if concat(input.arguments.n, input.arguments.l) == "x"',
            "puts in between",
        ),
        (
            'deny contains {"reason": "x"} if input.arguments.n == ' + "[" * 40 + "]" * 40,
            "brackets",
        ),
        (
            "a := {\n" + "[[[[[[[[]]]]]]]],\n" * 3000 + '}\ndeny contains {"reason": "x"} if a',
            "brackets",
        ),
        (
            "a := 1" + " +\n1" * 15000 + '\ndeny contains {"reason": "x"} if a > 1',
            "operators",
        ),
        (
            'deny contains {"reason": "x"} if {\n'
            + "".join(f"\tsome a{n} in [1]\n" for n in range(15000))
            + "}",
            "operators",
        ),
    ],
    ids=["itself", "each-other", "chain", "memory", "deep", "many", "sum", "loops"],
)
def test_what_would_end_or_hold_the_engine_is_not_given_to_it(rules, says):
    began = time.monotonic()
    said = str(refused(f"package portcullis.custom.p\n\nimport rego.v1\n\n{rules}\n"))
    assert "PC7018" in said
    assert says in said
    assert time.monotonic() - began < 20


def test_a_chain_that_is_short_enough_decides():
    pdp = pdp_with(f"package portcullis.custom.p\n\nimport rego.v1\n\n{chain(60)}\n")
    assert pdp.decide(call(target="kb.a", arguments={"n": 1}), context("a")).code == "PC3019"
    assert isinstance(pdp.decide(call(target="kb.a", arguments={}), context("a")), Allow)


LOOPS = "\n".join(f"a{n + 1} := array.concat(a{n}, a{n})" for n in range(13))
TEXTS = "\n".join(f'a{n + 1} := regex.replace(a{n}, ".", "xxxxxxxxxx")' for n in range(13))


@pytest.mark.parametrize(
    ("rules", "asks"),
    [(LOOPS, "some x in a13; some y in a13; x != y"), (TEXTS, "count(a13) > 3")],
    ids=["time", "memory"],
)
def test_what_no_count_foresees_is_ended_and_denies(monkeypatch, rules, asks):
    monkeypatch.setattr(custom, "SECONDS", 0.5 if rules is LOOPS else 30)
    pdp = pdp_with(
        f"package portcullis.custom.p\n\nimport rego.v1\n\na0 := input.arguments.l\n{rules}\n"
        f'deny contains {{"reason": "x"}} if {{ {asks} }}\n'
        'deny contains {"reason": "y"} if input.name == "b"\n'
    )

    def decided(name, **arguments):
        return pdp.decide(call(target=f"kb.{name}", arguments=arguments), context("a"))

    assert isinstance(decided("a"), Allow)
    began = time.monotonic()
    brought = "abcdefgh" if rules is TEXTS else [1, 1]
    assert decided("a", l=brought).code == "PC9001"
    assert time.monotonic() - began < 20  # of loops it would be minutes, of texts all memory
    assert isinstance(decided("a"), Allow)
    assert decided("b").reason == "y"


def test_a_package_that_takes_all_memory_of_itself_is_no_policy():
    rules = TEXTS.replace("a0", '"abcdefgh"')
    said = refused(f'package portcullis.custom.p\n{rules}\ndeny contains {{"reason": "x"}} if a13')
    assert said.code == "PC7018"
    assert "within memory" in said.detail
