"""Evidence in a running gate: evaluated at an interval, off the loop, and told.

A gap that opens or closes is an event and a metric; packages go to their folder on schedule and
once the gaps have settled after a change.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Gauge

from portcullis.audit.files import replace
from portcullis.audit.keys import load_signer
from portcullis.audit.note import Signer
from portcullis.audit.quorum import Quorum, load_quorum
from portcullis.bootstrap.evidence_logs import evidence_logs
from portcullis.bootstrap.floor import EVIDENCE
from portcullis.config import Config
from portcullis.config.places import audit_directory
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType
from portcullis.core.inspection_ports import Pins
from portcullis.core.ports import Sealer
from portcullis.review.apart import checked_apart
from portcullis.review.continuous import FACTS, Change, Outlook, Watch
from portcullis.review.deployment import Deployment, deployment
from portcullis.review.evaluate import Assessment, State
from portcullis.review.facts import Facts
from portcullis.review.logs import Logs
from portcullis.review.package import write
from portcullis.review.shelf import discard, package_name, shelved, surplus
from portcullis.review.signals import tally
from portcullis.review.subject import Verified, moment

log = structlog.get_logger(__name__)

KEY: Final = "evidence.key"
VKEY: Final = "evidence.vkey"
"""Beside the log's own public key."""
_RETRY: Final = timedelta(minutes=15)
"""After packages could not be made: the whole log is verified for them each time."""
_MOST_REMOVED: Final = 100
"""So many packages of a framework are removed at once; each removal is an event."""


def settings(config: Config, pins: Pins) -> Deployment:
    """What of the deployment is evidence now. Blocks."""
    return deployment(config, pins.all(), pins.sightings())


def quorum_of(config: Config) -> Quorum | None:
    """The witnesses that have to cosign, if any. Problem PC6006 for a policy that is none."""
    return None if config.audit.witnesses is None else load_quorum(config.audit.witnesses)


def evidence_signer(config: Config, name: str, origin: str, sealer: Sealer) -> Signer:
    """The key of packages in the name of this log, made on first use.

    Its public half lies beside the log. Problem PC6002 or PC7010 when it cannot be used.
    """
    keys, directory = config.state / "keys" / name, audit_directory(config, name)
    signer = load_signer(keys, KEY, f"{origin}/evidence", Signer, create=True, sealer=sealer)
    replace(directory / VKEY, f"{signer.verifier}\n".encode())
    return signer


class Gauges:
    """The state of evidence for Prometheus; labels are frameworks' names and controls' ids."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._gaps = Gauge(
            "portcullis_evidence_gaps",
            "Controls with a gap in their evidence.",
            ["framework"],
            registry=registry,
        )
        self._controls = Gauge(
            "portcullis_evidence_control_state",
            "1 evidenced, 0 not evaluated, -1 gap.",
            ["framework", "control"],
            registry=registry,
        )
        self._entries = Gauge(
            "portcullis_evidence_entries",
            "Entries of a log evaluated.",
            ["log"],
            registry=registry,
        )
        self._at = Gauge(
            "portcullis_evidence_evaluated_timestamp_seconds",
            "When evidence was last evaluated.",
            registry=registry,
        )

    def show(self, outlook: Outlook) -> None:
        """Set everything to what was found."""
        states = {State.EVIDENCED: 1, State.NOT_EVALUATED: 0, State.GAP: -1}
        for name, assessment in outlook.assessments.items():
            self._gaps.labels(name).set(assessment.count(State.GAP))
            for row in assessment.rows:
                self._controls.labels(name, row.control).set(states[row.state])
        for name, place in outlook.review.facts.logs.items():
            self._entries.labels(name).set(place.size)
        self._at.set(outlook.review.at.timestamp())


class Evidence:
    """Evaluates a deployment's logs until cancelled. Use it on the loop.

    ``name`` is the log of this process, which rules. Raises Problem PC6002 or PC7010 when packages
    are wanted and their key cannot be used.
    """

    def __init__(
        self, config: Config, services: Services, registry: CollectorRegistry, name: str
    ) -> None:
        self._config = config
        self._services = services
        self._name = name
        self._gauges = Gauges(registry)
        self._stop = threading.Event()
        self._unsettled: bool | None = None
        self._untold: list[Change] = []
        self._later = moment(0)
        self._packed: dict[str, datetime] = {}
        self._watch = Watch(
            self._logs,
            config.state / EVIDENCE / FACTS,
            config.evidence.frameworks,
            quorum_of(config),
        )
        self._signer: Signer | None = None
        if config.evidence.packages is not None:
            self._signer = evidence_signer(config, name, services.gateway, services.sealer)

    def _logs(self, patient: bool = False) -> Logs:  # noqa: FBT001, FBT002 - as ``Watch`` asks
        now = self._services.clock.now()
        return evidence_logs(self._config, now, self._name, patient=patient)

    async def run(self) -> None:
        """Evaluate every so many seconds. What fails is tried again; its age is a metric."""
        if not self._config.evidence.frameworks:
            return
        try:
            while True:
                await asyncio.sleep(self._config.evidence.seconds)
                try:
                    await self._once()
                except Problem as problem:
                    log.warning("evidence_not_evaluated", code=problem.code, detail=problem.detail)
                except Exception:
                    log.exception("evidence_not_evaluated")
        finally:
            self._stop.set()

    async def _once(self) -> None:
        outlook = await self._look()
        if outlook is None or self._later - _RETRY <= outlook.review.at < self._later:
            return
        due, at = self._due(outlook), outlook.review.at
        if not due and not self._watch.doubted:
            return
        self._later = at + _RETRY
        stopped = self._stop.is_set
        logs = await asyncio.to_thread(self._logs)
        verified = await asyncio.to_thread(checked_apart, logs, at, stopped)
        if verified is None:
            return
        self._watch.verified = verified
        after = await self._look(anew=verified.ok)  # what is signed rests on the log alone
        if due:
            await self._packages(after.assessments.values() if after is not None else (), at)
            self._unsettled = bool(outlook.changes)
        self._later = moment(0)

    async def _look(self, *, anew: bool = False) -> Outlook | None:
        outlook = await asyncio.to_thread(self._evaluated, anew=anew)
        if outlook is not None:
            self._gauges.show(outlook)
            if self._unsettled is None:
                self._unsettled = _unpacked(outlook.review.facts)
            self._unsettled = self._unsettled or bool(outlook.changes)
            self._untold += outlook.changes
            while self._untold:  # what the log does not take now is told the next time
                change = self._untold[0]
                self._record("evidence.gap", change.condition, _told(change))
                del self._untold[0]
        return outlook

    def _evaluated(self, *, anew: bool) -> Outlook | None:
        now = moment(self._services.clock.now())
        found = settings(self._config, self._services.pins)
        return self._watch.look(found, now, self._rested, anew=anew)

    def _rested(self, seconds: float) -> bool:
        return not self._stop.wait(seconds)

    def _due(self, outlook: Outlook) -> bool:
        """Whether packages are to be made: on schedule, or since changed gaps have settled."""
        wanted = self._config.evidence.packages
        at = outlook.review.at
        if wanted is None:
            return False
        latest = at - timedelta(hours=wanted.every_hours)
        made = {name: mark.time for name, mark in outlook.review.facts.packages.items()}
        made |= self._packed
        if self._unsettled and not outlook.changes:
            paused = at - timedelta(minutes=wanted.pause_minutes)
            latest = max(latest, paused)
        return any(not latest < made.get(name, latest) <= at for name in outlook.assessments)

    async def _packages(self, assessments: Iterable[Assessment], at: datetime) -> None:
        for assessment in assessments:
            await self._package(assessment)
            self._packed[assessment.framework] = at  # also when there is none: until the next time
            await self._thin(assessment.framework)

    async def _package(self, assessment: Assessment) -> None:
        wanted, signer, verified = (
            self._config.evidence.packages,
            self._signer,
            self._watch.verified,
        )
        if wanted is None or signer is None or verified is None or not verified.ok:
            return
        target = wanted.folder / package_name(assessment.framework, assessment.at)
        digest = await asyncio.to_thread(self._written, target, assessment, signer, verified)
        told = {"folder": target.name, "manifest": f"sha256:{digest}", "size": assessment.size}
        self._record("evidence.package", assessment.framework, told)

    async def _thin(self, framework: str) -> None:
        """Remove the packages that are too many; each is told before."""
        wanted = self._config.evidence.packages
        if wanted is None:
            return
        try:
            there = await asyncio.to_thread(shelved, wanted.folder, framework)
            for name in surplus(there, wanted.keep)[:_MOST_REMOVED]:
                told = {"folder": name, "keep": wanted.keep}
                self._record("evidence.package_removed", framework, told)
                await asyncio.to_thread(discard, wanted.folder, name)
        except OSError as error:
            log.warning("evidence_packages_not_removed", reason=error.strerror)

    def _written(
        self, target: Path, assessment: Assessment, signer: Signer, verified: Verified
    ) -> str:
        return write(
            target,
            assessment,
            logs=self._logs(),
            signer=signer,
            verified=verified,
            version=self._services.version,
        )

    def _record(self, method: str, name: str, parameters: Mapping[str, Any]) -> None:
        services = self._services
        services.recorder.enqueue(
            Event(
                v=1,
                id=services.new_id(),
                time=moment(services.clock.now()),
                type=EventType.ADMIN,
                gateway=services.gateway,
                route="evidence",
                method=method,
                name=name,
                parameters=dict(parameters),
            )
        )


def _unpacked(facts: Facts) -> bool:
    """Whether the log tells of a gap that changed after its last package: a gate stopped before."""
    changed = tally(facts, "gap_changes")
    return changed is not None and all(
        mark.before(changed.last) for mark in facts.packages.values()
    )


def _told(change: Change) -> dict[str, Any]:
    """A change as its event says it."""
    controls = {name: list(ids) for name, ids in change.controls.items()}
    if change.gap is None:
        return {"state": "closed", "controls": controls}
    since = {} if change.gap.since is None else {"since": change.gap.since.isoformat()}
    return {"state": "opened", "reason": change.gap.reason[:256], "controls": controls} | since
