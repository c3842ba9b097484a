"""The four sets of a review: what is declared, effective, reachable and used.

*Declared* are the grants that stand in the policy. *Effective* is what policy would let an agent
call today, at some time of the day, with some arguments, in some session: the engine is asked, for
each agent and tool. *Reachable* is what of it a server offers to an agent that can log in. *Used*
is what the log has of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from portcullis.core.call import RiskClass
from portcullis.review.reach import Reach


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """How often an agent was allowed one thing, and when first and last (seconds)."""

    agent: str
    action: str
    server: str
    name: str
    count: int
    first: float
    last: float

    @property
    def target(self) -> str:
        """What it was, qualified by its server where it has one."""
        return f"{self.server}.{self.name}" if self.server else self.name


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A grant as an agent has it. ``rule`` is what verdicts name, ``place`` is ``file:line``.

    ``terms`` say when it holds, in the words of the policy. ``count`` and ``last`` are the uses of
    all that it covers; None where the log does not tell (what a provider runs, what a server asks).
    """

    role: str
    kind: str
    value: str
    rule: str
    place: str
    terms: str
    tools: tuple[str, ...] = ()
    count: int | None = None
    last: float = 0.0


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that an agent may effectively call, at its highest class of risk."""

    name: str
    risk: RiskClass
    offered: bool | None = None
    count: int = 0
    last: float = 0.0


class AgentSets(msgspec.Struct, frozen=True, kw_only=True):
    """The four sets of one agent, and its access reviews.

    ``reachable`` is None where nobody knows what servers offer; ``registered`` where nobody knows
    who can log in. ``owner`` answers for it: by the directory, or else by the policy. ``due`` is
    when somebody has to have looked next (0: never), ``confirmed_at``, ``confirmed_by`` and
    ``confirmed_release`` are about the last time.
    """

    agent: str
    role: str
    owner: str
    rule: str
    place: str
    declared: tuple[Grant, ...] = ()
    effective: tuple[Tool, ...] = ()
    reachable: tuple[str, ...] | None = None
    registered: bool | None = None
    used: tuple[Used, ...] = ()
    expires: str = ""
    due: float = 0.0
    confirmed_at: float = 0.0
    confirmed_by: str = ""
    confirmed_release: int = 0


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something to look at. ``id`` is the same for the same thing in every review."""

    id: str
    kind: str
    severity: str
    title: str
    text: str
    advice: str
    agents: tuple[str, ...] = ()
    rule: str = ""
    place: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A review of a policy at a time. ``log_from`` is when the log begins, None without a log."""

    at: float
    policy: str
    release: int = 0
    days: int = 90
    log_from: float | None = None
    agents: tuple[AgentSets, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each severity."""
        found = dict.fromkeys(SEVERITIES, 0)
        for one in self.findings:
            found[one.severity] += 1
        return found


class Confirmed(msgspec.Struct, frozen=True, kw_only=True):
    """The last confirmation of an agent: when, by whom, and of which release."""

    at: float
    by: str
    release: int


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beside the policy; None for what nobody knows here.

    ``offered`` are the tools that servers offer, qualified; ``registered`` the agents that may log
    in, with the owner that the directory has. ``used`` is since the beginning of the log at
    ``log_from``, or as far back as a review looks. ``widened`` is what each agent may do now and
    could not when it was confirmed. ``then`` are the grants (``grants_findings.key_of``) that stood
    in the policy when the time began for which a grant may lie idle: newer ones are not idle yet.
    """

    offered: frozenset[str] | None = None
    registered: Mapping[str, str] | None = None
    used: tuple[Used, ...] | None = None
    log_from: float | None = None
    confirmed: Mapping[str, Confirmed] = {}
    widened: Mapping[str, tuple[str, ...]] = {}
    reach: Mapping[str, Reach] = {}
    then: frozenset[str] | None = None


SEVERITIES: Final = ("high", "medium", "low")
RANK: Final = {one: rank for rank, one in enumerate(SEVERITIES)}


def by_agent(used: tuple[Used, ...] | None) -> Mapping[str, tuple[Used, ...]]:
    """What each agent used."""
    found: dict[str, list[Used]] = {}
    for one in used or ():
        found.setdefault(one.agent, []).append(one)
    return {agent: tuple(uses) for agent, uses in found.items()}


def sets_of(report: Report, agent: str) -> AgentSets | None:
    """One agent's sets."""
    return next(_named(report, agent), None)


def _named(report: Report, agent: str) -> Iterator[AgentSets]:
    yield from (one for one in report.agents if one.agent == agent)
