"""Who may approve a release of policy: the rules, asked about what it would change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from portcullis.config import Approvals
from portcullis.core.lifecycle import State
from portcullis.core.ports import Directory
from portcullis.core.principal import PrincipalKind
from portcullis.core.release import File, Release
from portcullis.core.release_ports import ReleaseBook
from portcullis.oversight.approvers import Beside, Ruled, ruled
from portcullis.oversight.eyes import known_as

Touched: TypeAlias = Callable[
    [tuple[File, ...], tuple[File, ...]], Mapping[str, tuple[str, ...]] | None
]


def unknown(old: tuple[File, ...], new: tuple[File, ...]) -> None:
    """Nobody knows what a change is about: then it may be about every agent."""
    del old, new


@dataclass(frozen=True, slots=True)
class ApproverSettings:
    """The rules, and what they are asked with.

    ``touched`` gives the agents of which two policies say something else, each with who answers for
    it by them, or None when that cannot be told; it blocks.
    """

    approvals: Approvals = field(default_factory=Approvals)
    environment: str = "production"
    touched: Touched = unknown


class ReleaseApprovers:
    """Says whom the rules let approve a release. It holds against the active one as it is now."""

    def __init__(self, settings: ApproverSettings, book: ReleaseBook, directory: Directory) -> None:
        self._settings = settings
        self._rules = tuple(rule for rule in settings.approvals.rules if rule.releases)
        self._book = book
        self._directory = directory

    async def rules(self, found: Release, operator: str, now: float) -> tuple[Ruled, ...]:
        """The rules that speak of a release; ``you`` is the operator. ``now`` is in seconds.

        Raises Problem PC7030, PC7038 for a text that is not there, or damaged.
        """
        if not self._rules:
            return ()
        return await asyncio.to_thread(lambda: self._ruled(self._about(found), operator, now))

    async def counted(self, found: Release) -> int:
        """How many of its approvals count: those of people whom each of the rules names.

        They are asked again, since what is in force, and whoever is named, may be another by now.
        What somebody said who was cut off since counts no more: it may not have been he. Hours are
        those at which somebody approved. Raises as ``rules`` does.
        """

        def good() -> int:
            said = [one for one in found.approvals if self._lives(one.by)]
            if not self._rules or not said:
                return len(said)
            about = self._about(found)
            return sum(all(rule.you for rule in self._ruled(about, one.by, one.at)) for one in said)

        return await asyncio.to_thread(good)

    def _lives(self, operator: str) -> bool:
        """Whether an operator is active; who holds the issuer's key instead has no record."""
        record = self._directory.get(PrincipalKind.OPERATOR, operator)
        return record is None or record.state is State.ACTIVE

    def _ruled(self, about: Beside, operator: str, now: float) -> tuple[Ruled, ...]:
        asked = msgspec.structs.replace(about, now=now)
        known = known_as(self._directory, operator)
        return ruled(self._rules, self._settings.approvals.teams, asked, known)

    def _about(self, found: Release) -> Beside:
        """Which agents it is about, and who answers for them; it is read only if a rule asks."""
        agents: tuple[str | None, ...] = (None,)
        owners: tuple[str | None, ...] = (None,)
        touched = None
        if any(rule.agents or rule.owners for rule in self._rules):
            touched = self._touched(found)
        if touched is not None:
            agents = tuple(touched)
            owners = tuple(one for agent, said in touched.items() for one in self._own(agent, said))
        return Beside(
            kind="release",
            agents=agents,
            owners=owners,
            environment=self._settings.environment,
            now=0.0,
        )

    def _touched(self, found: Release) -> Mapping[str, tuple[str, ...]] | None:
        active = self._book.standing().active
        if active is None:
            return None
        old, new = self._book.files(active.number), self._book.files(found.number)
        return self._settings.touched(old, new)

    def _own(self, agent: str, said: tuple[str, ...]) -> tuple[str | None, ...]:
        """Who answers for an agent: by the directory, or else by the policies."""
        record = self._directory.get(PrincipalKind.AGENT, agent)
        return (record.owner,) if record is not None and record.owner else (said or (None,))
