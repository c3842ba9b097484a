"""If these fail, a fleet loses, under some fault, one of the things that it promises: see model.py.

Two rounds at every change, each kind by night; `make chaos` goes through 200 (docs/chaos.md).
"""

from __future__ import annotations

import pytest

from chaos.cell import Outcome, Plan
from chaos.faults import FAULTS
from chaos.storm import planned, weather
from effort import NIGHT
from needs import needs_namespaces, needs_netfilter, needs_redis
from postgres_servers import needs_postgresql

pytestmark = [needs_namespaces, needs_netfilter, needs_redis, needs_postgresql]

ROUNDS = [
    ["kill gateway", "cut control-postgres"],
    ["kill control", "disk slow"],
    ["kill postgres", "clock of a gateway +1 h"],
    ["kill redis", "clock of control +1 h"],
    ["cut gateway-redis", "clock of control -1 h"],
    ["cut control-redis", "clock of a gateway -1 h"],
    ["cut gateway-postgres"],
    ["packet loss 5 %", "disk full"],
]
"""Two faults at once where they meet different parts: half as many rounds."""
BY_DAY = ROUNDS[:1] + ROUNDS[7:]


def said(found: list[Outcome]) -> str:
    return "\n".join(f"{one.faults}: {fault}" for one in found for fault in one.violations)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_fleet_keeps_all_that_it_promises_whatever_goes_wrong(tmp_path):
    wanted = ROUNDS if NIGHT else BY_DAY
    rounds = list(enumerate(wanted))
    results = str(tmp_path / "results.jsonl")
    found = weather(Plan(seed=1, rounds=rounds, results=results, least=2.0, most=2.0), 540)
    assert said(found) == ""
    assert [one.faults for one in found] == wanted
    for one in found:
        assert one.killed == min(one.round, 1) + 1, "and one who was killed earlier stays so"
        assert one.verified == 3
        for kind in ("note", "spend", "chat", "read", "post"):
            assert one.calls[kind].get(""), f"{kind} was done in {one.faults}"
        assert one.calls["post"].get("PC3040"), "what was read was known at the other gateway"
        assert one.calls["note"].get("PC4001"), "who was killed was told so"


def test_each_kind_of_fault_is_among_them():
    assert {kind for kinds in ROUNDS for kind in kinds} == set(FAULTS)


def test_a_storm_is_the_same_for_the_same_seed_and_leaves_no_kind_out():
    once, again, other = planned(1, 200), planned(1, 200), planned(2, 200)
    assert once == again != other
    assert [number for number, _ in once] == list(range(200))
    kinds = [kind for _, [kind] in once]
    assert min(map(kinds.count, FAULTS)) >= 200 // len(FAULTS)
