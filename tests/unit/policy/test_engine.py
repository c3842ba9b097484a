import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from policies import SUPPORT, call, context, policy_of, session_of
from portcullis.core.codes import CODES
from portcullis.core.errors import Problem
from portcullis.core.verdict import Allow, Deny
from portcullis.policy.compiler import Bundle
from portcullis.policy.engine import BUILTINS, DECISION, EngineFault, RegorusEngine
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


def test_every_builtin_on_the_list_is_one_the_fixed_rules_use():
    text = "\n".join(text for _, text in policy_of(SUPPORT).bundle.modules)
    assert {name for name in BUILTINS if f"{name}(" in text} == BUILTINS


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

    def evaluate(self, policy, entry, question):
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
        engine.evaluate(policy, DECISION, "not JSON")
    assert engine.evaluate(policy, DECISION, "{}").startswith("{")
    with pytest.raises(EngineFault):
        engine.evaluate(policy, "data.no.such.rule", "{}")
