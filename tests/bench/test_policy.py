import json

import pytest
from typer.testing import CliRunner

from portcullis import cli
from portcullis.bench import policy, policy_gate
from portcullis.bench.policy import Settings, measure_policy
from portcullis.bench.policy_made import Sizes, text
from portcullis.catalogue.schema import fault
from portcullis.core.errors import Problem
from portcullis.policy.grammar import parse
from portcullis.policy.source import SourceFile

SMALL = Sizes(agents=20, roles=20, tools=600, rules=400)
WORDS = ("--agents", "20", "--roles", "20", "--tools", "600", "--rules", "400", "--seconds", "0.1")


def test_the_policy_has_as_much_as_was_asked_for_and_uses_the_whole_language():
    made = parse((SourceFile("policy/main.yaml", text(SMALL)),), fault)
    own = [g for role in made.roles for g in role.grants() if f".{role.name.value}." in g.path]
    assert (len(made.agents), len(made.roles), len(made.tools)) == (20, 20, 600)
    assert len(own) == 400 + 1  # and a model
    terms = [grant.terms for grant in own]
    assert all(any(getattr(one, key) is not None for one in terms) for key in ("when", "during"))
    assert any(role.inherits for role in made.roles)


def test_every_promise_about_decisions_is_held_against_its_figure():
    done = CliRunner().invoke(
        cli._app("bench"), ["bench", "policy", *WORDS, "--decisions", "500", "--no-gate", "--json"]
    )
    result = json.loads(done.stdout)
    figures = result["figures"]
    assert result["command"] == "bench policy"
    assert sorted(result["targets"]) == ["decision_p50_us", "decision_p99_us", "memory_growth_mb"]
    for name, target in result["targets"].items():
        assert target["met"] == (figures[name] <= target["value"])
    assert 0 < figures["remembered_p50_us"] < figures["decision_p50_us"]
    assert figures["engine_p50_us"] > 0
    assert figures["first_decision_ms"] > 0


def test_a_policy_that_decides_wrongly_gives_no_figures(monkeypatch):
    monkeypatch.setattr(policy, "_allowed", policy._denied)
    with pytest.raises(Problem, match="decides wrongly"):
        measure_policy(Settings(seconds=0.1, sizes=SMALL, gate=False), lambda _: None)


def test_memory_stays_flat_over_many_decisions():
    # at most 4 KiB of growth for each decision: it fails where one leaks what it was asked
    done = measure_policy(
        Settings(seconds=0.1, sizes=SMALL, gate=False, decisions=20_000), lambda _: None
    )
    assert done.figures["memory_growth_mb"] < 8


@pytest.mark.slow
def test_a_new_policy_takes_force_in_a_running_gate_while_calls_are_answered(tmp_path, monkeypatch):
    monkeypatch.setattr(policy_gate, "_SECONDS", 2.0)
    found = policy_gate.measure_activation(tmp_path, SMALL, 1, lambda _: None)
    assert 0 < found["activation_s"] < 30
    assert found["gate_during_p99_ms"] > 0
