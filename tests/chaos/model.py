"""The invariants, each judged from a history alone: nothing here knows how the gate works."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from chaos.history import HANGS, Asked, History, Killed, Streamed

READS, POSTS, PAYS = "read", "post", "pay"
"""A call that reads something confidential, one that needs that nothing of it was read, and one
that somebody has to approve."""
_REFUSED = frozenset({"deny", "hold"})


def recorded(history: History) -> Iterator[str]:
    """No action without its record; that of one that only reads may be lost with its process."""
    texts = {one.mark: one.text for one in history.asked}
    may_be_lost = {
        one.text for one in history.asked if one.kind == READS and one.gateway in history.died
    }
    went = (one for one in history.decided if one.verdict not in _REFUSED)
    allowed = Counter(texts[one.mark] for one in went if one.mark in texts)
    kinds = {one.text: one.kind for one in history.received}
    for text, times in Counter(one.text for one in history.received).items():
        if times > allowed[text] and text not in may_be_lost:
            yield f"{kinds[text]} {text} was done {times} times, and decided {allowed[text]} times"


def within_budget(history: History) -> Iterator[str]:
    """Nothing is overspent."""
    sessions = {one.text: one.session for one in history.asked}
    spent: Counter[tuple[str, str, str]] = Counter()
    for one in history.received:
        session = sessions.get(one.text, "")
        spent[session, one.kind, "calls"] += 1
        spent[session, one.kind, "tokens"] += one.tokens
    for budget in history.budgets:
        took = spent[budget.session, budget.kind, budget.unit]
        if took > budget.most:
            yield f"{took} {budget.unit} of {budget.kind} were taken, of {budget.most}"


def cut_off(history: History) -> Iterator[str]:
    """Nobody is served who was killed a lease ago."""
    asked = {one.text: one for one in history.asked}
    for kill in history.killed:
        end = kill.at + history.bounds.lease + history.bounds.lag
        for one in history.asked:
            if _is_of(kill, one) and one.began > end and one.code == "":
                after = f"{one.began - kill.at:.2f} s after the kill"
                yield f"{one.gateway} served {one.kind} of a {kill.scope} {after}"
        for got in history.received:
            if got.text in asked and _is_of(kill, asked[got.text]) and got.at > end:
                after = f"{got.at - kill.at:.2f} s after the kill"
                yield f"{got.kind} of a {kill.scope} reached the upstream {after}"
        for stream in history.streamed:
            if _is_of(kill, stream) and stream.last > end:
                after = f"{stream.last - kill.at:.2f} s after the kill"
                yield f"{stream.gateway} passed on a piece to a {kill.scope} {after}"


def _is_of(kill: Killed, one: Asked | Streamed) -> bool:
    return kill.value == (one.agent if kill.scope == "agent" else one.session)


def approved_once(history: History) -> Iterator[str]:
    """No approval is used twice."""
    for approval, times in Counter(one.approval for one in history.consumed).items():
        if times > 1:
            yield f"approval {approval} was consumed {times} times"
    done = Counter(one.text for one in history.received if one.kind == PAYS)
    granted = Counter(one.text for one in history.approved)
    for text, times in done.items():
        if times > granted[text]:
            yield f"{text} was done {times} times, and approved {granted[text]} times"


def labels_kept(history: History) -> Iterator[str]:
    """Who has read something confidential sends nothing out, at whatever gateway."""
    went = {one.text for one in history.received}
    read: dict[str, Asked] = {}
    for one in history.asked:
        if one.kind == READS and one.code == "":
            before = read.get(one.session)
            if before is None or one.ended < before.ended:
                read[one.session] = one
    for one in history.asked:
        first = read.get(one.session)
        out = one.kind == POSTS and (one.code == "" or one.text in went)
        if out and first and one.began > first.ended:
            yield f"{one.gateway} let out what {first.gateway} had labelled"


def verifies(history: History) -> Iterator[str]:
    """Every log verifies."""
    for one in history.verified:
        if not one.ok:
            yield f"log {one.log}: {'; '.join(one.reasons)}"


def answers(history: History) -> Iterator[str]:
    """Nothing hangs."""
    for one in history.asked:
        if one.code == HANGS or one.ended - one.began > history.bounds.answer:
            yield f"{one.kind} at {one.gateway} took {one.ended - one.began:.1f} s"


def serves_again(history: History) -> Iterator[str]:
    """The fleet serves when the fault is over."""
    for one in history.served:
        if one.seconds is None:
            yield f"{one.gateway} did not serve again after {one.fault}"
        elif one.seconds > history.bounds.serves:
            yield f"{one.gateway} served again {one.seconds:.1f} s after {one.fault}"


INVARIANTS: tuple[Callable[[History], Iterator[str]], ...] = (
    recorded,
    within_budget,
    cut_off,
    approved_once,
    labels_kept,
    verifies,
    answers,
    serves_again,
)


def violations(history: History) -> list[str]:
    """What was broken, each with the invariant's name; empty when all hold."""
    return [f"{rule.__name__}: {said}" for rule in INVARIANTS for said in rule(history)]
