"""What a review of the policy stands on here: its text, who is registered, the pins and the log."""

from __future__ import annotations

import subprocess
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
from sqlalchemy import Engine

from portcullis.config import Config
from portcullis.control.certifying import CertifyingParts
from portcullis.core.certificate import Certificate
from portcullis.core.certificate_ports import CertificateBook
from portcullis.core.errors import Problem
from portcullis.core.inspection_ports import Pins
from portcullis.core.lifecycle import State
from portcullis.core.ports import Clock, Directory, Sealer
from portcullis.core.principal import PrincipalKind
from portcullis.core.release import Release, Stage
from portcullis.core.release_ports import ReleaseBook
from portcullis.policy.delivery import sources
from portcullis.policy.source import SourceFile
from portcullis.review.grants import Confirmed, Known, Report
from portcullis.review.grants_apart import Held, Job, reviewed_apart
from portcullis.review.grants_review import Asking
from portcullis.store.certificates import SqlCertificates
from portcullis.store.directory import SqlDirectory
from portcullis.store.pins import SqlPins
from portcullis.store.policy_releases import SqlReleases
from portcullis.store.policy_used import SqlUsed

_DAY: Final = 86_400.0
_RELEASES: Final = 1000
"""How many releases are looked through for the one that was in force at a time."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Reviews policies against what this deployment knows. Every method blocks."""

    config: Config
    book: ReleaseBook
    certificates: CertificateBook
    directory: Directory
    pins: Pins
    uses: SqlUsed
    processes: deque[subprocess.Popen[bytes]] = field(default_factory=lambda: deque(maxlen=8))

    def report(
        self,
        files: tuple[SourceFile, ...],
        now: float,
        release: int = 0,
        days: int | None = None,
        widened: Mapping[str, tuple[str, ...]] | None = None,
    ) -> Report:
        """Review a policy; ``release`` is its number, 0 for none. Raises Problem PC7002.

        ``widened`` is held against it in place of what was confirmed.
        """
        job = self.job(files, now, release, days)
        if widened is not None:
            known = msgspec.structs.replace(job.known, widened=widened)
            job = msgspec.structs.replace(job, known=known, held=())
        report = reviewed_apart(job, self.processes.append).report
        if report is None:
            raise Problem("PC9002", "the policy could not be reviewed")
        return report

    def job(
        self,
        files: tuple[SourceFile, ...],
        now: float,
        release: int = 0,
        days: int | None = None,
        before: int = 0,
    ) -> Job:
        """What a review is made of; ``before`` is the release that was in force before."""
        settings = self.config.policy_review
        unused = days or settings.unused_days
        horizon = now - unused * _DAY
        confirmed = self.certificates.confirmed()
        known = Known(
            offered=frozenset(f"{one.server}.{one.tool}" for one in self.pins.all()),
            registered=self._registered(),
            used=self.uses.used(horizon),
            log_from=self.uses.log_from(),
            confirmed={
                agent: Confirmed(at=one.at, by=one.by, release=one.release)
                for agent, one in confirmed.items()
            },
        )
        asking = Asking(
            unused_days=unused,
            certify_days=settings.certify_days or 0,
            environment=self.config.environment,
            release=release,
        )
        return Job(
            files=files,
            known=known,
            now=now,
            asking=asking,
            held=self._held(confirmed),
            before=self._text(before) if before else (),
            then=self._then(horizon),
        )

    def _held(self, confirmed: Mapping[str, Certificate]) -> tuple[Held, ...]:
        """What was confirmed, and of whom; of an agent that nobody ever confirmed, nothing."""
        agents: dict[int, set[str]] = {}
        for agent, one in confirmed.items():
            agents.setdefault(one.release, set()).add(agent)
        found = ((self._text(number), frozenset(names)) for number, names in agents.items())
        return tuple(Held(files, names) for files, names in found if files)

    def active(self) -> tuple[Release, tuple[SourceFile, ...]] | None:
        """The active release and its text; None when there is none. Raises Problem PC7038."""
        active = self.book.standing().active
        return None if active is None else (active, sources(self.book.files(active.number)))

    def _text(self, number: int) -> tuple[SourceFile, ...]:
        """A release's text; nothing where it is kept no more."""
        try:
            return sources(self.book.files(number))
        except Problem:
            return ()

    def _registered(self) -> dict[str, str]:
        """The agents that may log in, each with its owner."""
        agents = self.directory.list(PrincipalKind.AGENT)
        return {one.id: one.owner for one in agents if one.state is State.ACTIVE}

    def _then(self, horizon: float) -> tuple[SourceFile, ...]:
        """The policy that was in force at a time; nothing where no release is as old."""
        older = [
            one
            for one in self.book.list(_RELEASES)
            if 0 < one.active_at <= horizon and one.stage is not Stage.ROLLED_BACK
        ]
        if not older:
            return ()
        return self._text(max(older, key=lambda one: one.active_at).number)


def survey_of(config: Config, engine: Engine, sealer: Sealer) -> Survey:
    """Over a deployment's record store."""
    return Survey(
        config=config,
        book=SqlReleases(engine, sealer),
        certificates=SqlCertificates(engine),
        directory=SqlDirectory(engine),
        pins=SqlPins(engine),
        uses=SqlUsed(engine),
    )


def certifying_parts(
    config: Config, engine: Engine, sealer: Sealer, clock: Clock
) -> CertifyingParts:
    """What access reviews stand on."""
    survey = survey_of(config, engine, sealer)

    def report() -> Report:
        active = survey.active()
        if active is None:
            raise Problem("PC7030", "no release of policy is active yet")
        return survey.report(active[1], clock.now(), active[0].number)

    return CertifyingParts(
        survey.certificates,
        survey.book,
        report,
        owners_certify=config.policy_review.owners_certify,
        teams=config.approvals.teams,
    )
