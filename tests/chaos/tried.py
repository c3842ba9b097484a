"""Whether a round says anything: each promise has to be put to the test in it.

A round in which nothing was tried breaks no promise. What is asked for here does not depend on
what the gate answers, but for one thing: before the fault, calls are answered.
"""

from __future__ import annotations

from collections.abc import Iterator

from chaos.history import Asked, Fault, History
from chaos.model import PAYS, POSTS, READS

STEADY = ("note", "spend", "chat")
"""The kinds of calls that go on all the time."""


def untried(history: History, gateways: tuple[str, ...]) -> list[str]:
    """What was not put to the test, each with the word ``untried``; empty when all was."""
    return [
        f"untried: {said}"
        for fault in history.faults
        for rule in (_faults, _load, _budgets, _kills, _approvals, _labels, _logs)
        for said in rule(history, fault, gateways)
    ]


def during(history: History) -> dict[str, int]:
    """How many calls of each kind began while something was wrong."""
    found: dict[str, int] = {}
    for fault in history.faults:
        for one in history.asked:
            if fault.began <= one.began <= fault.ended:
                found[one.kind] = found.get(one.kind, 0) + 1
    return found


def _faults(history: History, fault: Fault, gateways: tuple[str, ...]) -> Iterator[str]:
    if len(fault.proof) != len(fault.kinds):
        yield f"of {' and '.join(fault.kinds)} only this was seen: {fault.proof}"


def _load(history: History, fault: Fault, gateways: tuple[str, ...]) -> Iterator[str]:
    """Each gateway is called before a fault, with success, and all the time that it lasts."""
    for kind in STEADY:
        calls = [one for one in history.asked if one.kind == kind]
        if not any(one.code == "" and one.ended < fault.began for one in calls):
            yield f"no {kind} was answered before the fault"
        for gateway in gateways:
            if not any(
                one.gateway == gateway and fault.began <= one.began <= fault.ended for one in calls
            ):
                yield f"no {kind} was asked of {gateway} during the fault"


def _budgets(history: History, fault: Fault, gateways: tuple[str, ...]) -> Iterator[str]:
    """Afterwards a session asks for more than its whole budget, whoever forgot what it spent."""
    for budget in history.budgets:
        mine = [
            one for one in history.asked if (one.session, one.kind) == (budget.session, budget.kind)
        ]
        tokens = {one.text: one.tokens for one in history.received}
        cost = max((tokens.get(one.text, 0) for one in mine), default=0)
        each = cost if budget.unit == "tokens" else 1
        after = sum(one.began > fault.ended for one in mine)
        if after * each < budget.most:
            yield f"{budget.kind} was asked for {after} times after the fault, of {budget.most}"


def _kills(history: History, fault: Fault, gateways: tuple[str, ...]) -> Iterator[str]:
    """Whoever was killed asks at each gateway when the lease is over, and had a stream before."""
    if not any(one.began < fault.began for one in history.streamed):
        yield "nobody had a stream"
    if not history.killed:
        yield "nobody was killed"
    for kill in history.killed:
        end = kill.at + history.bounds.lease + history.bounds.lag
        late = {
            one.gateway
            for one in history.asked
            if one.began > end and kill.value in {one.agent, one.session}
        }
        if late != set(gateways):
            yield f"a killed {kill.scope} asked only at {sorted(late)} after the lease"


def _approvals(history: History, fault: Fault, gateways: tuple[str, ...]) -> Iterator[str]:
    if not history.consumed:
        yield "no approval was used"
    if _where(history, fault, PAYS) != set(gateways):
        yield "what was approved was not asked for everywhere after the fault"


def _labels(history: History, fault: Fault, gateways: tuple[str, ...]) -> Iterator[str]:
    """Somebody read at one gateway and then tried to get it out at another."""
    read = [one for one in history.asked if one.kind == READS and one.code == ""]
    if not any(_tries(one, there) for one in history.asked for there in read):
        yield "nobody tried to let out what was read at another gateway"


def _tries(one: Asked, read: Asked) -> bool:
    return (
        one.kind == POSTS
        and one.session == read.session
        and one.gateway != read.gateway
        and one.began > read.ended
    )


def _logs(history: History, fault: Fault, gateways: tuple[str, ...]) -> Iterator[str]:
    marks = {one.mark for one in history.asked}
    for gateway in gateways:
        if not any(one.log == gateway and one.mark in marks for one in history.decided):
            yield f"the log of {gateway} has nothing of this round"
    missing = {*gateways} - {one.log for one in history.verified}
    if missing:
        yield f"no log was verified of {sorted(missing)}"


def _where(history: History, fault: Fault, kind: str) -> set[str]:
    return {one.gateway for one in history.asked if one.kind == kind and one.began > fault.ended}
