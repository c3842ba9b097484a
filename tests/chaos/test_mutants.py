"""If this fails, the chaos suite would not notice that the gate breaks its promises."""

from __future__ import annotations

import pytest

from chaos.cell import Plan
from chaos.storm import weather
from effort import by_night
from needs import needs_namespaces, needs_netfilter, needs_redis
from postgres_servers import needs_postgresql

pytestmark = [needs_namespaces, needs_netfilter, needs_redis, needs_postgresql]

MUTANTS = ["unrecorded", "deaf", "forgetful", "generous"]


@by_night("a minute")
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_gate_that_breaks_its_promises_is_found_out(tmp_path):
    """Gateways that are patched, and a Redis that forgets what it counted."""
    plan = Plan(
        seed=1,
        rounds=[(0, ["kill redis"]), (1, ["kill gateway"])],
        results=str(tmp_path / "results.jsonl"),
        least=3.0,
        most=3.0,
        mutants=MUTANTS,
        lasting=False,
    )
    found = weather(plan, 540)
    broken = {said.partition(":")[0] for one in found for said in one.violations}
    assert broken == {
        *("recorded", "within_budget", "cut_off", "approved_once", "labels_kept"),
        "verifies",  # results without their decisions
    }
