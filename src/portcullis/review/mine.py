"""Mining a policy from the log: what an agent was seen to need, and that nothing of it is lost.

The rules are in docs/mining.md. A draft is never activated: it is compared with the policy that it
would replace, call by call, and somebody reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.event import Event
from portcullis.policy.model import Agent, Role
from portcullis.policy.source import SourceFile
from portcullis.review.growth import growth
from portcullis.review.mine_draft import Draft, draft
from portcullis.review.mine_evidence import Evidence, Learned, Scopes, gather
from portcullis.review.mine_role import Mined, mined
from portcullis.review.replay import Group, Kind, Replay, Summary, held
from portcullis.review.replay_asked import Contents
from portcullis.review.replay_side import Side

LASTING: Final = timedelta(days=90)
"""For how long what is mined is granted, by default."""


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was learned from, and that the draft would refuse."""

    event: str
    target: str
    code: str


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A draft with all that is known of it.

    ``lost`` has the first calls that were learned from and that it refuses: there should be none.
    ``denied`` are the calls that it newly refuses, or may, in groups; ``loosened`` says what it
    holds back less than the policy now.
    """

    evidence: Evidence
    entries: tuple[Mined, ...]
    draft: Draft
    lost: tuple[Lost, ...]
    denied: tuple[Group, ...]
    replayed: Summary
    loosened: tuple[str, ...]


def propose(
    files: tuple[SourceFile, ...],
    agent: str,
    events: Callable[[], Iterable[Event]],
    now: datetime,
    *,
    since: datetime | None = None,
    lasting: timedelta = LASTING,
    contents: Contents | None = None,
    scopes: Scopes | None = None,
    environment: str = "production",
) -> Proposal:
    """Mine a policy for an agent, and replay the log against it.

    ``events`` gives the log's events anew, each time that it is called. Raises Problem PC2007 for
    an agent that the policy does not name, PC7041 where there is nothing to learn from, PC7042 when
    what was mined does not load.
    """
    old = Side(files, environment)
    known = {one.name.value: one for one in old.policy.agents}
    if agent not in known:
        raise Problem("PC2007", f"the policy has no agent {agent}")
    role = next(one for one in old.policy.roles if one.name.value == known[agent].role.value)
    evidence = gather(events(), agent, since=since, contents=contents, scopes=scopes)
    if not evidence.learned:
        raise Problem("PC7041", f"{agent} made no call that a policy can be mined from")
    until = f"{now + lasting:%Y-%m-%d}"
    entries = mined(evidence.learned, old.policy, role, until)
    made, new = _drafted(files, known[agent], role, entries, evidence, old, environment)
    replay = Replay(old, new, since=since, contents=contents, agents=frozenset([agent]))
    for _ in replay.run(events()):
        pass
    lost = tuple(_lost(evidence.learned, new))
    return Proposal(
        evidence=evidence,
        entries=entries,
        draft=made,
        lost=lost,
        denied=tuple(_denied(replay.summary)),
        replayed=replay.summary,
        loosened=_loosened(old, new, agent),
    )


def _drafted(
    files: tuple[SourceFile, ...],
    agent: Agent,
    role: Role,
    entries: Sequence[Mined],
    evidence: Evidence,
    old: Side,
    environment: str,
) -> tuple[Draft, Side]:
    taken = frozenset(one.name.value for one in old.policy.roles)
    made = draft(files, agent, role, entries, evidence, taken=taken)
    try:
        return made, Side(made.files, environment)
    except Problem as problem:
        raise Problem("PC7042", problem.detail) from None


def _lost(learned: Iterable[Learned], new: Side) -> list[Lost]:
    found = []
    for one in learned:
        decided = held(new, one.asked, one.own)
        if not decided.allowed:
            code = decided.code
            found.append(Lost(event=one.asked.id, target=one.asked.target, code=code))
    return found


def _denied(told: Summary) -> list[Group]:
    """What was allowed and is refused now, or may be."""
    return [
        group
        for group in told.groups
        if any(one.startswith("allow") for one in group.old)
        and any(one.startswith("deny") for one in group.new)
        and group.kind is not Kind.SAME
    ]


def _loosened(old: Side, new: Side, agent: str) -> tuple[str, ...]:
    """What holds the agent back less: nothing should. What it is granted is in the entries."""
    found: list[str] = []
    for one in growth(old.policy, new.policy):
        if one.agent == agent:
            found += [*(f"higher risk of {tool}" for tool in one.raised), *one.weaker]
    was, now = old.beside(agent), new.beside(agent)
    found += [f"{key} is another" for key in sorted({*was, *now}) if was.get(key) != now.get(key)]
    return tuple(found)
