"""What a decision costs: its memory does not grow, and it does not grow with the policy."""

import resource
import time

from policies import call, context, pdp_of, policy_of, session_of
from portcullis.core.verdict import Allow
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.pdp import RegoPdp


def company(agents, roles, tools):
    lines = ["version: 1", "agents:"]
    lines += [f"  a{n}: {{role: r{n % roles}}}" for n in range(agents)]
    lines += ["roles:"]
    for n in range(roles):
        lines += [f"  r{n}:", f"    permissions: [{{read: res{n}}}]", "    models: [gpt-*]"]
    lines += ["tools:"]
    for n in range(tools):
        lines += [
            f"  s.t{n}:",
            f"    {{resource: res{n % roles}, verb: read, risk: read, arguments: {{",
            "    customer_id: {equals: session.subject.customer_id, log: clear},",
            "    limit: {maximum: 100}, status: {enum: [open, closed]}}}",
        ]
    return "\n".join(lines)


ASKED = call(target="s.t1", arguments={"customer_id": "C-1", "limit": 5, "status": "open"})
AROUND = context("a1", session=session_of("a1"))


def median_microseconds(pdp, times=1500):
    assert isinstance(pdp.decide(ASKED, AROUND), Allow)
    taken = []
    for _ in range(times):
        begin = time.thread_time_ns()
        pdp.decide(ASKED, AROUND)
        taken.append(time.thread_time_ns() - begin)
    return sorted(taken)[times // 2] / 1000


def test_a_decision_costs_the_same_in_a_large_policy():
    small, large = pdp_of(company(2, 2, 2)), pdp_of(company(100, 20, 100))
    few, many = median_microseconds(small), median_microseconds(large)
    assert many < 3 * few, f"{few} us with 2 tools, {many} us with 100"


def test_memory_stays_flat_over_fifty_thousand_decisions():
    pdp = pdp_of(company(10, 2, 10))
    for _ in range(10_000):
        pdp.decide(ASKED, AROUND)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(50_000):
        pdp.decide(ASKED, AROUND)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4096  # KiB


def test_memory_stays_flat_over_many_reloads():
    engine = RegorusEngine()
    policies = [policy_of(company(10, 2, size)) for size in (50, 51)]
    pdp = RegoPdp(policies[0], engine)

    def swap(times):
        for n in range(times):
            pdp.swap(policies[n % 2])
            assert isinstance(pdp.decide(ASKED, AROUND), Allow)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = swap(60)
    assert swap(300) - before < 8192  # KiB
