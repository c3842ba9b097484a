import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from policies import SUPPORT, call, context, pdp_of, policy_of, session_of
from portcullis.core.codes import CODES
from portcullis.core.errors import Problem
from portcullis.core.verdict import Allow, Deny
from portcullis.policy.compiler import Bundle
from portcullis.policy.engine import BUILTINS, DECISION, EngineFault, Input, RegorusEngine
from portcullis.policy.pdp import RegoPdp


def compile_rego(body):
    rules = f"package portcullis\nimport rego.v1\nvisible := []\nprofile := {{}}\n{body}\n"
    return RegorusEngine().compile(Bundle((("test.rego", rules),), "{}"))


@pytest.mark.parametrize(
    "body",
    [
        "decision := http.send({})",
        "decision := opa.runtime()",
        "decision if time.now_ns() > 1",
        "decision := [x | x := rand.intn(1, 2)]",
        "decision if not io.jwt.decode(input.x)",
    ],
)
def test_rego_that_calls_a_builtin_outside_the_list_does_not_load(body):
    with pytest.raises(Problem) as caught:
        compile_rego(body)
    assert caught.value.code == "PC7002"


def test_the_list_of_builtins_grows_only_on_purpose():
    fixed = "\n".join(text for _, text in policy_of(SUPPORT).bundle.modules)
    authors = {"abs", "array.concat", "contains", "endswith", "net.cidr_contains"}
    authors |= {"split", "sum", "trim_suffix"}
    assert BUILTINS - authors == {name for name in BUILTINS - authors if f"{name}(" in fixed}
    assert authors <= BUILTINS


def test_rego_that_assigns_in_a_body_does_not_load():
    """The VM goes on with an undefined right-hand side, which would turn a refusal around."""
    with pytest.raises(Problem) as caught:
        compile_rego("decision if { x := data.missing[input.k] }")
    assert "assigns" in caught.value.detail


def test_rego_that_does_not_parse_says_where():
    with pytest.raises(Problem) as caught:
        compile_rego("decision if {")
    assert caught.value.code == "PC7002"
    assert "test.rego:" in caught.value.detail
    assert "backtrace" not in caught.value.detail.lower()


def test_every_code_in_the_rules_is_in_the_table():
    text = dict(policy_of(SUPPORT).bundle.modules)["decide.rego"]
    used = {word.strip('",') for word in text.split('"') if word.startswith("PC")}
    assert used
    assert used <= CODES.keys()


def test_each_thread_decides_with_a_machine_of_its_own():
    pdp = RegoPdp(policy_of(SUPPORT), RegorusEngine())
    good = call(arguments={"customer_id": "C-1"})
    bad = call(arguments={"customer_id": "C-2"})
    together = threading.Barrier(4)

    def work(_):
        together.wait()
        around = context(session=session_of())
        return [(pdp.decide(good, around), pdp.decide(bad, around)) for _ in range(200)]

    with ThreadPoolExecutor(4) as pool:
        answers = [pair for pairs in pool.map(work, range(4)) for pair in pairs]
    assert all(type(first) is Allow and type(second) is Deny for first, second in answers)


def test_a_swap_reaches_every_thread_and_no_decision_mixes_two_policies():
    strict = policy_of(SUPPORT)
    loose = policy_of(SUPPORT.replace("maximum: 100", "maximum: 1000"))
    expected = {strict.digest: Deny, loose.digest: Allow}
    pdp = RegoPdp(strict, RegorusEngine())
    asked, around = (
        call(arguments={"customer_id": "C-1", "limit": 500}),
        context(session=session_of()),
    )
    stop = threading.Event()

    def work(_):
        seen = []
        while not stop.is_set():
            seen.append(pdp.decide(asked, around))
        return seen

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(work, n) for n in range(3)]
        for n in range(60):
            pdp.swap((loose, strict)[n % 2])
            pdp.decide(asked, around)
        stop.set()
        verdicts = [verdict for future in running for verdict in future.result()]
    assert all(type(verdict) is expected[verdict.policy] for verdict in verdicts)
    assert {verdict.policy for verdict in verdicts} <= expected.keys()


class _Broken:
    def __init__(self, answer):
        self.answer = answer

    def compile(self, bundle):
        return b""

    def evaluate(self, policy, entry, asked):
        if self.answer is None:
            raise EngineFault
        return self.answer


@pytest.mark.parametrize(
    "answer",
    [
        None,
        '"<undefined>"',
        "null",
        "true",
        "{}",
        '{"allow": "yes", "reason": "", "rule": "", "risk": "read"}',
        '{"allow": true, "reason": "", "rule": "", "risk": "none"}',
        '{"allow": false, "code": "PC0000", "reason": "", "rule": "", "risk": "read"}',
        '{"allow": false, "reason": "", "rule": "", "risk": "read"}',
        "not JSON",
    ],
)
def test_whatever_is_not_an_answer_is_a_deny(answer):
    pdp = RegoPdp(policy_of(SUPPORT), _Broken(answer))
    verdict = pdp.decide(call(), context())
    assert isinstance(verdict, Deny)
    assert verdict.code == "PC9001"
    assert pdp.visible("tools", "kb", ["search"], context()) == frozenset()


def test_an_engine_that_failed_once_decides_again():
    policy, engine = policy_of(SUPPORT), RegorusEngine()
    with pytest.raises(EngineFault):
        engine.evaluate(policy, DECISION, Input("not JSON", ""))
    assert engine.evaluate(policy, DECISION, Input("{}", "")).startswith("{")
    with pytest.raises(EngineFault):
        engine.evaluate(policy, "data.no.such.rule", Input("{}", ""))


def test_many_roles_with_conditions_and_tools_with_bounds_are_one_policy():
    # The engine takes 256 modules and 20 000 lines of each: they are merged for it.
    count = 300
    agents = "".join(f"  a{n}: {{role: r{n}, owner: o}}\n" for n in range(count))
    roles = "".join(
        f"  r{n}: {{allowed_tools: [{{tool: s.t{n}, when: arguments.n == {n}}}]}}\n"
        for n in range(count)
    )
    tools = "".join(f"  s.t{n}: {{arguments: {{n: {{maximum: 500}}}}}}\n" for n in range(count))
    pdp = pdp_of(f"version: 1\nagents:\n{agents}roles:\n{roles}tools:\n{tools}")
    for n in (0, 7, count - 1):
        asked = [call(target=f"s.t{n}", arguments={"n": value}) for value in (n, n + 1)]
        assert [isinstance(pdp.decide(one, context(f"a{n}")), Allow) for one in asked] == [
            True,
            False,
        ]


def test_roles_whose_names_look_alike_keep_their_own_conditions():
    names = ["a-b", "a_b", "a_2d_b", "a__b", "1a"]
    agents = "".join(f"  w{n}: {{role: {name!r}, owner: o}}\n" for n, name in enumerate(names))
    roles = "".join(
        f"  {name!r}: {{allowed_tools: [{{tool: s.t, when: arguments.n == {n}}}]}}\n"
        for n, name in enumerate(names)
    )
    pdp = pdp_of(f"version: 1\nagents:\n{agents}roles:\n{roles}")
    for n in range(len(names)):
        asked = [call(target="s.t", arguments={"n": value}) for value in range(len(names))]
        granted = [isinstance(pdp.decide(one, context(f"w{n}")), Allow) for one in asked]
        assert granted == [value == n for value in range(len(names))]
