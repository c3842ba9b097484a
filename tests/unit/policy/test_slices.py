import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from policies import SUPPORT, call, context, pdp_of, policy_of, session_of
from portcullis.catalogue.schema import fault
from portcullis.core.verdict import Allow, Deny
from portcullis.policy import machines, reload, slices
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.pdp import RegoPdp
from portcullis.policy.reload import PolicyReload

SECONDS = 60
ROLES = 12


def several(limit, count=ROLES, when="", agents=""):
    """So many roles with an agent and a tool each, and a bound that says which policy it is."""
    named = "".join(f"  a{n}: {{role: r{n}}}\n" for n in range(count)) + agents
    roles = "".join(f"  r{n}: {{allowed_tools: [s.t{n}]}}\n" for n in range(count))
    tools = "".join(
        f"  s.t{n}: {{risk: read, arguments: {{n: {{maximum: {limit}}}}}}}\n" for n in range(count)
    )
    return f"version: 1\nagents:\n{named}roles:\n{roles}{when}tools:\n{tools}"


def asked(number, value=1):
    return call(target=f"s.t{number}", arguments={"n": value})


@pytest.fixture
def small(monkeypatch):
    """Documents of which each holds two roles of ``several``, and not a third."""
    whole = policy_of(several(5)).program.parts.documents[0]
    monkeypatch.setattr(slices, "PART", len(whole) * 2 // ROLES + 20)
    return slices.PART


@pytest.fixture
def loads(monkeypatch):
    """The length of each document that is loaded, and by which thread."""
    seen = []

    class Watched:
        def __init__(self):
            self._own = real()

        def set_data_json(self, document):
            seen.append((len(document), threading.get_ident()))
            self._own.set_data_json(document)

        def __getattr__(self, name):
            return getattr(self._own, name)

    real = machines.regorus.Rvm
    monkeypatch.setattr(machines.regorus, "Rvm", Watched)
    return seen


def test_each_role_stands_with_its_agents_in_one_document_of_a_bounded_size(small):
    policy = policy_of(several(5, agents="  other: {role: r3}\n"))
    whole, parts = json.loads(policy.bundle.data)["policy"], policy.program.parts
    found = [json.loads(one)["policy"] for one in parts.documents]
    assert ROLES // 2 <= len(found) < ROLES
    assert all(len(one) < 2 * small for one in parts.documents)
    for kind in ("agents", "roles"):
        assert {name: said for one in found for name, said in one[kind].items()} == whole[kind]
    for name, number in parts.places.items():
        assert whole["agents"][name]["role"] in found[number]["roles"]
    assert parts.places.keys() == whole["agents"].keys()
    assert parts.tools.keys() == whole["catalogue"].keys()


def test_a_new_policy_loads_nothing_until_it_is_asked_and_then_one_document(small, loads):
    first, second = policy_of(several(5)), policy_of(several(1))
    pdp = RegoPdp(first, RegorusEngine())
    assert isinstance(pdp.decide(asked(0, 3), context("a0")), Allow)
    loads.clear()
    pdp.swap(second)
    assert loads == []
    verdict = pdp.decide(asked(0, 3), context("a0"))
    assert (type(verdict), verdict.policy) == (Deny, second.digest)
    assert len(loads) == 1
    assert loads[0][0] < 2 * small < len(second.bundle.data)
    for number in range(ROLES):
        assert isinstance(pdp.decide(asked(number), context(f"a{number}")), Allow)
        assert isinstance(pdp.decide(asked((number + 1) % ROLES), context(f"a{number}")), Deny)
    assert len(loads) == ROLES // 2


def test_who_and_what_no_document_names_is_refused_as_by_the_whole(small):
    pdp = pdp_of(several(5))
    assert pdp.decide(asked(0), context("nobody")).code == "PC3009"
    unlisted = pdp.decide(call(target="s.other"), context("a0"))
    assert (unlisted.code, unlisted.risk) == ("PC3001", "delete")
    assert pdp.decide(asked(1), context("a0")).risk == "read"
    names = ["t0", "t1", "other"]
    assert pdp.visible("tools", "s", names, context("a0")) == {"t0"}
    assert pdp.visible("tools", "s", names, context("nobody")) == frozenset()


def test_while_a_policy_is_made_the_one_before_answers_and_the_loop_compiles_nothing(
    small, loads, tmp_path, monkeypatch
):
    (tmp_path / "main.yaml").write_text(several(5), encoding="utf-8")
    made, going = threading.Event(), threading.Event()
    real, by = reload.compile_apart, []

    def slow(*words):
        by.append(threading.get_ident())
        going.set()
        assert made.wait(SECONDS)
        return real(*words)

    monkeypatch.setattr(reload, "compile_apart", slow)

    async def run():
        policy = PolicyReload(tmp_path, fragment=fault, adopt=lambda _: None, report=print)
        pdp, before = policy.pdp, policy.pdp.digest
        (file,) = policy.files
        changed = type(file)(file.name, several(1))
        taking = asyncio.create_task(policy.take((changed,)))
        try:
            assert await asyncio.to_thread(going.wait, SECONDS)
            old = pdp.decide(asked(0, 3), context("a0"))
            loads.clear()
        finally:
            made.set()
        await asyncio.wait_for(taking, SECONDS)
        at_activation = list(loads)
        return before, old, at_activation, pdp.decide(asked(0, 3), context("a0")), pdp.digest

    before, old, at_activation, new, after = asyncio.run(run())
    assert (type(old), old.policy) == (Allow, before)
    assert (type(new), new.policy) == (Deny, after)
    assert before != after
    assert at_activation == []
    assert by
    assert threading.get_ident() not in by


def test_what_a_thread_has_no_use_for_is_dropped_one_machine_at_a_time(small):
    engine = RegorusEngine()

    def decided():
        for limit in range(3, 3 + machines.MOST + 2):
            pdp = RegoPdp(policy_of(several(limit)), engine)
            for number in range(ROLES):
                assert isinstance(pdp.decide(asked(number), context(f"a{number}")), Allow)
        own = machines._own()
        return len(own.known), sum(len(one._loaded) for one in own.over)

    with ThreadPoolExecutor(1) as fresh:
        kept, left = fresh.submit(decided).result(SECONDS)
    assert kept == machines.MOST
    assert left < ROLES // 2


def test_of_policies_that_are_over_nothing_stays_after_many_activations():
    def decided():
        for limit in range(3, 13):
            pdp = RegoPdp(policy_of(several(limit, count=1)), RegorusEngine())
            assert isinstance(pdp.decide(asked(0), context("a0")), Allow)
        return len(machines._own().known), len(machines._own().over)

    with ThreadPoolExecutor(1) as fresh:
        assert fresh.submit(decided).result(SECONDS) == (machines.MOST, 0)


@pytest.mark.parametrize(
    ("condition", "documents"),
    [
        ('{rego: "data.policy.agents[input.principal.id].role == `w`"}', 1),
        ('{rego: "data.policy.roles.r1.granted == `granted by the role r1`"}', 1),
        ('{rego: "contains(`a#b`, `#`); data.policy.agents.a1.role == `r1`"}', 1),
        ('{rego: "object.get(input, `catalogue`, `no`) == `no`"}', 1),
        ('{rego: "input.arguments.n == 1 # of data"}', 7),
        ("arguments.data == 1 or arguments.n == 1", 7),
        ("agent.owner == 'o'", 7),
    ],
)
def test_where_a_condition_may_ask_for_any_data_it_stays_whole(small, condition, documents):
    when = f"  w: {{allowed_tools: [{{tool: s.t0, when: {condition}}}]}}\n"
    policy = policy_of(several(5, when=when, agents="  one: {role: w, owner: o}\n"))
    pdp = RegoPdp(policy, RegorusEngine())
    assert len(policy.program.parts.documents) == documents
    assert isinstance(pdp.decide(asked(0), context("one")), Allow)
    assert isinstance(pdp.decide(asked(0, 9), context("one")), Deny)
    assert isinstance(pdp.decide(asked(1), context("one")), Deny)


def test_a_small_policy_is_one_document():
    policy = policy_of(SUPPORT)
    assert len(policy.program.parts.documents) == 1
    good = call(arguments={"customer_id": "C-1"})
    verdict = RegoPdp(policy, RegorusEngine()).decide(good, context(session=session_of()))
    assert verdict.policy == policy.digest
