"""When a condition holds, and what is said of one that is none."""

import functools

import pytest

from policies import call, context, pdp_of, policy_of, session_of
from portcullis.core.codes import CODES
from portcullis.core.errors import Problem
from portcullis.core.verdict import Allow

HEAD = """\
version: 1
agents: {a: {role: r, owner: team}}
roles:
  r:
    allowed_tools:
"""


@functools.cache
def _pdp(when):
    return pdp_of(HEAD + f"      - {{tool: kb.a, when: {when}}}\n")


def granted(when, arguments=None, *, subject=None, user="ada"):
    """Whether a tool granted on this condition is allowed."""
    pdp = _pdp(when)
    around = context("a", session=session_of(agent="a", subject=subject or {}, user=user))
    return isinstance(pdp.decide(call(target="kb.a", arguments=arguments), around), Allow)


def refused(when):
    with pytest.raises(Problem) as caught:
        policy_of(HEAD + f"      - {{tool: kb.a, when: {when}}}\n")
    return caught.value


@pytest.mark.parametrize(
    ("when", "yes", "no"),
    [
        ("arguments.n <= 3", [{"n": 3}, {"n": -1.5}], [{"n": 4}, {"n": "3"}, {"n": True}, {}]),
        ("arguments.n != 3", [{"n": 4}], [{"n": 3}, {"n": "3"}, {"n": None}, {}]),
        ("not arguments.n == 3", [{"n": 4}], [{"n": 3}, {"n": "3"}, {"n": None}, {}]),
        ("arguments.b == true", [{"b": True}], [{"b": False}, {"b": 1}, {"b": "true"}]),
        ("arguments.s in ['a', 'b']", [{"s": "a"}], [{"s": "c"}, {"s": 1}, {"s": ["a"]}]),
        ("arguments.s not in ['a', 'b']", [{"s": "c"}], [{"s": "a"}, {"s": 1}, {}]),
        ("'x' in arguments.l", [{"l": [1, "x"]}], [{"l": []}, {"l": "x"}, {"l": {"x": 1}}]),
        ("'x' not in arguments.l", [{"l": ["a"]}, {"l": []}], [{"l": [1]}, {"l": ["x"]}]),
        ("arguments.p startswith '/srv/'", [{"p": "/srv/a"}], [{"p": "/srv/../e"}, {"p": "/x"}]),
        ("not arguments.p startswith '/srv/'", [{"p": "/x"}], [{"p": "/srv/../e"}, {"p": 1}]),
        (
            "not arguments.p startswith '/srv/'",
            [{"p": "https://a.example/x"}],
            [{"p": "/x/../srv/a"}, {"p": "//srv/a"}, {"p": "/./srv/a"}, {"p": "/%2e/srv/a"}],
        ),
        ("not arguments.p startswith 'ADM'", [{"p": "a // b ../c"}], [{"p": "ADM"}]),
        ("arguments.s matches '[a-z]+'", [{"s": "ab"}], [{"s": "ab1"}, {"s": "ab\n"}, {"s": 1}]),
        ("not arguments.s matches '[a-z]+'", [{"s": "A"}], [{"s": "a"}, {"s": None}]),
        ("exists arguments.s", [{"s": 0}, {"s": []}], [{}, {"s": None}]),
        ("not exists arguments.s.t", [{}, {"s": "t"}, {"s": {"t": None}}], [{"s": {"t": 1}}]),
        ("count(arguments.l) < 2", [{"l": [1]}, {"l": {}}], [{"l": [1, 2]}, {"l": "a"}, {}]),
        ('arguments["a b"][0].c == 1', [{"a b": [{"c": 1}]}], [{"a b": {"c": 1}}, {"a b": []}]),
        (
            "arguments.a == arguments.b",
            [{"a": 1, "b": 1.0}],
            [{"a": 1, "b": "1"}, {"a": [], "b": []}],
        ),
        ("arguments.x == 1 or arguments.y == 1", [{"y": 1}, {"x": 1}], [{"x": 2}, {}]),
        (
            "not (arguments.x == 1 and arguments.y == 1)",
            [{"x": 2}, {"x": 1, "y": 2}],
            [{"x": 1}, {"x": 1, "y": 1}, {}],
        ),
        (
            "(arguments.x == 1 or arguments.y > 0) and not (arguments.z > 0 or exists arguments.q)",
            [{"x": 1, "z": 0}],
            [{"x": 1}, {"x": 1, "z": 0, "q": 1}, {"z": 0}],
        ),
    ],
)
def test_a_condition_holds_when_it_is_true_and_never_when_it_cannot_be_told(when, yes, no):
    quoted = when.replace("'", "''")
    assert [granted(f"'{quoted}'", one) for one in yes] == [True] * len(yes)
    assert [granted(f"'{quoted}'", one) for one in no] == [False] * len(no)


def test_a_condition_sees_the_session_the_agent_and_the_environment():
    assert granted("session.user == 'ada'")
    assert not granted("session.user == 'bob'")
    assert granted("session.subject.team == arguments.t", {"t": "x"}, subject={"team": "x"})
    assert granted("agent.id == 'a' and agent.owner == 'team' and environment == 'production'")
    assert not granted("\"environment in ['staging']\"")


@pytest.mark.parametrize(
    ("when", "says"),
    [
        ("arguments.n ==", "found the end"),
        ("arguments.n = 3", "cannot be read"),
        ("arguments == 3", "unknown path"),
        ("session.id == 'x'", "unknown path"),
        ("arguments.urgent", "expected a comparison"),
        ("arguments.s < 'b'", "numbers only"),
        ("arguments.s == null", "null"),
        ("1 == 1", "two literals"),
        ("arguments.s in []", "expected a path, a number"),
        ("arguments.s matches '\\\\d+'", "no escapes"),
        ("arguments.s matches '(?i)a'", "no groups"),
        ("arguments.s matches '[a&&b]'", "a class has"),
        ("arguments.s matches '(a'", "not a regular expression"),
        ("arguments.s matches 'a)|(?:b'", "not a regular expression"),
        ("arguments.p startswith '/srv'", "must end with /"),
        ("arguments.n == 9007199254740992", "not exact"),
        ('arguments.s == \\"it\'s\\" and', "found the end"),
        ("(" * 40 + "arguments.n == 1" + ")" * 40, "too deeply"),
    ],
)
def test_what_is_no_condition_says_why(when, says):
    problem = refused(f'"{when}"')
    assert problem.code == "PC7002"
    assert "policy/main.yaml:6:" in problem.detail
    assert says in problem.detail


@pytest.mark.parametrize(
    ("when", "hint"),
    [
        ("arguments.n = 3", "Compare with ==."),
        ("arguments.n == 3 && arguments.m == 1", "`and`, `or` and `not` are words."),
        ("arguments.n == 3 AND arguments.m == 1", "Write `and`."),
        ("arguments.my-name == 1", 'arguments["a-b"]'),
        ("environment == production", "A text stands in quotes."),
        ("arguments.n contains 3", "One of == != <"),
    ],
)
def test_usual_slips_come_with_what_to_write(when, hint):
    assert hint in refused(f'"{when}"').hint


def test_the_caret_stands_under_the_word_that_is_wrong():
    lines = refused('"arguments.n == 3 adn true"').detail.splitlines()
    assert lines[1][lines[2].index("^") :].startswith("adn")


@pytest.mark.parametrize(
    "when",
    [
        r'"arguments.n == \"a\u0041\" adn true"',
        "'arguments.n == ''a'' adn true'",
        "arguments.n == 3 adn true",
    ],
)
def test_the_caret_counts_what_is_written_and_not_what_it_says(when):
    lines = refused(when).detail.splitlines()
    assert lines[1][lines[2].index("^") :].startswith("adn")


def test_each_of_several_faults_comes_with_its_own_hint():
    problem = refused('"arguments.n = 3", unitl: "2099-01-01"')
    assert problem.hint == CODES["PC7002"].hint
    assert "^\n      = Compare with ==.\n" in problem.detail
    assert problem.detail.endswith("^\n      = Did you mean until?")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("x := input.arguments.n", "assigns"),
        ("true } met if { true", "not the body of one rule"),
        ("input.arguments.n == ", "not Rego v1"),
        ("data.portcullis.decision", "data.policy only"),
        ('data["portcullis"]', "data.policy only"),
        ("http.send({})", "http.send is not on the list"),
        ("not startswith(input.arguments.s, `x`)", "`not` of what may be undefined"),
        ("count([input.arguments.s | true]) == 0", "a comprehension gathers"),
        ("input.x with input as {}", "`with`"),
        ("unknown == 1", "undefined variable"),
        ("some x in [array.concat(input.arguments.l, [1])]; array.concat(x, x)[0]", "made before"),
        ("concat(``, [s | some s in input.arguments.l]) != ``", "made before"),
    ],
)
def test_a_snippet_is_the_body_of_one_rule_and_asks_nothing_that_engines_judge_apart(body, says):
    problem = refused(f"{{rego: '{body}'}}")
    assert says in problem.detail


def test_a_snippet_decides():
    body = "{rego: 'some one in input.arguments.l; one > 3'}"
    assert granted(body, {"l": [1, 4]})
    assert not granted(body, {"l": [1]})
    assert not granted(body, {})


def test_a_list_shows_what_some_arguments_could_be_allowed():
    lines = {
        "a": "arguments.n <= 3 and session.user == 'ada'",
        "b": "arguments.n <= 3 and session.user == 'bob'",
        "c": "arguments.n <= 3 or session.user == 'bob'",
        "d": "not (arguments.n <= 3 or session.user == 'ada')",
        "e": "session.user == 'bob'",
    }
    pdp = pdp_of(
        HEAD + "".join(f'      - {{tool: kb.{n}, when: "{w}"}}\n' for n, w in lines.items())
    )
    around = context("a", session=session_of(agent="a", user="ada"))
    assert pdp.visible("tools", "kb", sorted(lines), around) == {"a", "c"}


def test_the_rego_of_a_condition_says_which_line_it_is_of():
    modules = dict(
        policy_of(HEAD + "      - {tool: kb.a, when: arguments.n == 1}\n").bundle.modules
    )
    assert modules["roles/r.rego"].endswith(
        "# policy/main.yaml:6 allowed_tools[0] kb.a\n\n"
        "# policy/main.yaml:6 when: arguments.n == 1\n"
        'r_allowed_tools_0 if values.alike(input.arguments["n"], 1)\n'
    )
