"""Access reviews of agents, for operators: recorded durably before they take effect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from portcullis.control.records import Records
from portcullis.control.releases import Releasing
from portcullis.core.call import Context
from portcullis.core.certificate import Certificate, Reviewed, Said
from portcullis.core.certificate_ports import CertificateBook
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, Directory
from portcullis.core.principal import PrincipalKind
from portcullis.core.release import Release
from portcullis.core.release_ports import ReleaseBook
from portcullis.oversight.approvers import among, answerable
from portcullis.oversight.eyes import known_as
from portcullis.policy.delivery import files_of, sources
from portcullis.review.grants import AgentSets, Report, sets_of
from portcullis.review.grants_removed import patch, without

CONFIRM: Final = "policy.certify.confirm"
REVOKE: Final = "policy.certify.revoke"
REVIEWED: Final = "policy.reviewed"
HISTORY: Final = 20
"""How many of an agent's last certificates are shown."""

_report: Final = msgspec.json.Decoder(Report).decode


@dataclass(frozen=True, slots=True)
class CertifyingParts:
    """Where access reviews are. Who makes one has ``deciding``, who reviews ``looking``.

    ``survey`` reviews the active release now, and blocks; it raises Problem PC7030 when none is.
    With ``owners_certify`` only who answers for an agent confirms it; ``teams`` says who is in
    which team.
    """

    book: CertificateBook
    releases: ReleaseBook
    survey: Callable[[], Report]
    owners_certify: bool = False
    teams: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    deciding: asyncio.Lock = field(default_factory=asyncio.Lock)
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)


class Revoked(msgspec.Struct, frozen=True, kw_only=True):
    """What came of revoking a grant: the release that was proposed, or 0, and the patch."""

    release: int
    patch: str


class Certifying:
    """Reviews, confirms and revokes. ``route`` names the face in the records."""

    def __init__(
        self,
        parts: CertifyingParts,
        releasing: Releasing,
        directory: Directory,
        records: Records,
        clock: Clock,
        route: str,
    ) -> None:
        self._parts = parts
        self._book = parts.book
        self._releasing = releasing
        self._directory = directory
        self._records = records
        self._clock = clock
        self._route = route

    async def last(self) -> Report | None:
        """The last review; None when there was none, or it is of another version of ours."""
        found = await asyncio.to_thread(self._book.review)
        if found is None:
            return None
        try:
            return await asyncio.to_thread(_report, found.report)
        except msgspec.MsgspecError:
            return None

    async def review(self, context: Context) -> Report:
        """Review what is in force now. Raises Problem PC7030 when nothing is."""
        async with self._parts.looking:
            report = await asyncio.to_thread(self._parts.survey)
            await self._act(context, REVIEWED, str(report.release), told(report, "asked"))
            await self._keep(report)
            return report

    async def agents(self) -> Report:
        """The last review, as far as it is of what is in force and of the last access reviews.

        Else a new one. Raises Problem PC7030.
        """
        async with self._parts.looking:
            report, active = await self.last(), await self._active()
            confirmed = await asyncio.to_thread(self._book.confirmed)
            said = max((one.at for one in confirmed.values()), default=0.0)
            if report is not None and report.release == active.number and said <= report.at:
                return report
            report = await asyncio.to_thread(self._parts.survey)
            await self._keep(report)
            return report

    async def _keep(self, report: Report) -> None:
        """Keep it in place of one of the same release.

        The first of a release is kept by who watches for drift, who tells by it what is new.
        """
        last = await asyncio.to_thread(self._book.review)
        if last is not None and last.release == report.release:
            await asyncio.to_thread(self._book.put, kept(report, "asked"))

    async def history(self, agent: str) -> tuple[Certificate, ...]:
        """An agent's last certificates, the newest first."""
        return await asyncio.to_thread(self._book.history, agent, HISTORY)

    async def owner(self, agent: str) -> str:
        """Who answers for an agent: by the directory, or else by the policy; empty for nobody.

        Raises Problem PC7030, PC7049.
        """
        record = await asyncio.to_thread(self._directory.get, PrincipalKind.AGENT, agent)
        if record is not None and record.owner:
            return record.owner
        return (await self._sets(agent)).owner

    async def hindrance(self, context: Context, agent: str) -> Problem | None:
        """Why whoever asks may not confirm an agent; None where he may.

        Raises Problem PC7030, PC7049.
        """
        if not self._parts.owners_certify:
            return None
        owner = await self.owner(agent)
        if not owner:
            return Problem("PC3087", f"nobody answers for {agent}: give it an owner")
        known = await asyncio.to_thread(known_as, self._directory, context.principal.id)
        people = answerable(owner, self._parts.teams)
        if among(known, people):
            return None
        who = owner if people == (owner,) else f"the team {owner}"
        return Problem("PC3087", f"{who} answers for {agent}")

    async def confirm(self, context: Context, agent: str, release: int, reason: str) -> Certificate:
        """Confirm what an agent may under a release, which has to be the one in force.

        Raises Problem PC7030, PC7045, PC7049, and PC3087 for who does not answer for it where its
        owner has to.
        """
        async with self._parts.deciding:
            active = await self._same(release)
            hindrance = await self.hindrance(context, agent)
            if hindrance is not None:
                raise hindrance
            owner = await self.owner(agent)
            sets = msgspec.structs.replace(await self._sets(agent), owner=owner)
            made = self._certificate(context, sets, active, Said.CONFIRMED, reason)
            said = {"agent": agent, "release": active.number, "policy": active.digest}
            said |= {"owner": sets.owner, "reason": reason, "grants": len(sets.declared)}
            await self._act(context, CONFIRM, agent, said)
            await asyncio.to_thread(self._book.add, made)
            return made

    async def revoke(
        self, context: Context, agent: str, grant: str, reason: str, *, everybody: bool = False
    ) -> tuple[Certificate, Revoked]:
        """Say that a grant has to go, by its rule or path: a release without it is proposed.

        Where the policy folder decides, there is only a patch for it; nothing is changed by
        itself. Raises Problem PC7030, PC7035, PC7047, PC7048, PC7049.
        """
        async with self._parts.deciding:
            active = await self._active()
            number = active.number
            files = sources(await asyncio.to_thread(self._parts.releases.files, number))
            left = await asyncio.to_thread(
                lambda: without(files, agent, grant, everybody=everybody)
            )
            owner = await self.owner(agent)
            sets = msgspec.structs.replace(await self._sets(agent), owner=owner)
            rule = next(
                (o.rule for o in sets.declared if grant in {o.rule, o.rule.partition(" ")[0]}),
                grant,
            )
            said = {"agent": agent, "release": number, "policy": active.digest, "grant": rule}
            await self._act(context, REVOKE, agent, said | {"reason": reason})
            proposed = 0
            if self._releasing.binding:
                note = f"revoke {rule.partition(' @ ')[0]} of {agent}"[:200]
                made = await self._releasing.propose(context, files_of(left), note)
                proposed = made.number
            certificate = msgspec.structs.replace(
                self._certificate(context, sets, active, Said.REVOKED, reason),
                grant=rule,
                led_to=proposed,
            )
            await asyncio.to_thread(self._book.add, certificate)
            return certificate, Revoked(release=proposed, patch=patch(files, left))

    def _certificate(
        self, context: Context, sets: AgentSets, active: Release, said: Said, reason: str
    ) -> Certificate:
        return Certificate(
            agent=sets.agent,
            at=self._clock.now(),
            by=context.principal.id,
            said=said,
            release=active.number,
            policy=active.digest,
            owner=sets.owner,
            reason=reason,
        )

    async def _sets(self, agent: str) -> AgentSets:
        sets = sets_of(await self.agents(), agent)
        if sets is None:
            raise Problem("PC7049", f"the policy in force has no agent {agent}")
        return sets

    async def _active(self) -> Release:
        active = (await asyncio.to_thread(self._parts.releases.standing)).active
        if active is None:
            raise Problem("PC7030", "no release of policy is active yet")
        return active

    async def _same(self, release: int) -> Release:
        active = await self._active()
        if active.number != release:
            raise Problem("PC7045", f"release {active.number} is in force, not {release}")
        return active

    async def _act(self, context: Context, method: str, name: str, said: dict[str, Any]) -> None:
        await self._records.act(context, method, name, route=self._route, parameters=said)


def told(report: Report, why: str) -> dict[str, Any]:
    """What the event of a review says."""
    return {
        "release": report.release,
        "policy": report.policy,
        "why": why,
        "agents": len(report.agents),
        **report.counts,
    }


def kept(report: Report, why: str) -> Reviewed:
    """A report as it is kept."""
    return Reviewed(
        at=report.at, release=report.release, why=why, report=msgspec.json.encode(report)
    )
