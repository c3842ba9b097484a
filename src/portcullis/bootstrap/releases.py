"""Releases of policy: put together, found in the first place, followed, and guarded."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog
from sqlalchemy import Engine

from portcullis.config import Config
from portcullis.control.releases import ReleaseParts
from portcullis.control.releases_approvers import ApproverSettings
from portcullis.core.alarm import Alarm
from portcullis.core.errors import Problem
from portcullis.core.ports import Sealer
from portcullis.core.release import File, Release, Stage, Untested, Verb, text_digest
from portcullis.core.release_ports import ReleaseBook
from portcullis.gateway.records import changed
from portcullis.policy.delivery import files_of, sources
from portcullis.policy.source import SourceFile, read
from portcullis.policy.spike import caused, interval, spiked
from portcullis.store.policy_releases import SqlReleases

if TYPE_CHECKING:
    from portcullis.control.services import Services

_LOOK_SECONDS: Final = 1.0

InForce: TypeAlias = tuple[tuple[SourceFile, ...], str]
"""The files of a policy, and the digest of what they compile to."""

log = structlog.get_logger(__name__)


def release_parts(config: Config, engine: Engine, sealer: Sealer) -> ReleaseParts:
    """What releases stand on."""
    return ReleaseParts(
        book=SqlReleases(engine, sealer),
        needed=config.policy_changes.approvals,
        binding=binding(config),
        compiled=partial(_compiled, config),
        untested=_untested,
        approvers=ApproverSettings(config.approvals, config.environment, _touched),
    )


@lru_cache(maxsize=4)
def _touched(old: tuple[File, ...], new: tuple[File, ...]) -> Mapping[str, tuple[str, ...]] | None:
    """The agents of which two policies say something else, with their owners; None: unknown."""
    from portcullis.review.grants_touched import touched  # noqa: PLC0415 - slow to load

    try:
        return touched(sources(old), sources(new))
    except Problem:  # an older text that this version does not read
        return None


@lru_cache(maxsize=4)
def _untested(active: tuple[File, ...], candidate: tuple[File, ...]) -> tuple[Untested, ...]:
    from portcullis.catalogue.schema import fault  # noqa: PLC0415 - slow to load
    from portcullis.policy.engine import RegorusEngine  # noqa: PLC0415 - the same
    from portcullis.policy.pdp import compile_files  # noqa: PLC0415 - the same
    from portcullis.policy.untested import untested  # noqa: PLC0415 - the same

    engine = RegorusEngine()
    try:
        return untested(
            *(compile_files(sources(one), fault, engine) for one in (active, candidate))
        )
    except Problem as problem:  # a text that this version does not read
        return (Untested(part="unknown", names=(problem.code,)),)


def binding(config: Config) -> bool:
    """Whether the active release is the policy; else what the folder holds is."""
    return config.policy_changes.approvals > 0 or config.policy_source is not None


def _compiled(config: Config, files: tuple[File, ...]) -> str:
    """The digest of a policy that the gate would take. Blocks. Raises Problem."""
    from portcullis.bootstrap.firewall import findable, known  # noqa: PLC0415 - slow to load
    from portcullis.catalogue.schema import fault  # noqa: PLC0415 - the same
    from portcullis.policy.engine import RegorusEngine  # noqa: PLC0415 - the same
    from portcullis.policy.observe import require_near  # noqa: PLC0415 - the same
    from portcullis.policy.pdp import compile_files  # noqa: PLC0415 - the same

    policy = compile_files(sources(files), fault, RegorusEngine())
    known(policy, findable(config.inspection))
    require_near(policy.observed, time.time())
    return policy.digest


async def held(config: Config, services: Services) -> tuple[Release, tuple[SourceFile, ...]]:
    """The active release and its text.

    Where none was ever active, the folder becomes the first: whoever sets the deployment up
    is trusted with that, and it is on record. Raises Problem: a folder that is no policy, PC7031
    when nothing is active, PC7038.
    """
    book = _parts(services).book
    active = (await asyncio.to_thread(book.standing)).active
    if active is None:
        made = await asyncio.to_thread(_first, config, services)
        if made is not None:
            said = {"release": made.number, "policy": made.digest, "text": made.text}
            services.recorder.enqueue(
                changed(services.gateway, services.clock, "policy.release.first", said)
            )
        active = (await asyncio.to_thread(book.standing)).active
    if active is None:
        raise Problem("PC7031", "no release of policy is active")
    return active, sources(await asyncio.to_thread(book.files, active.number))


def _first(config: Config, services: Services) -> Release | None:
    parts, files = _parts(services), files_of(read(config.policy))
    found = _found(files, parts.compiled(files), services.clock.now())
    return parts.book.first(found, files)


def _found(files: tuple[File, ...], digest: str, now: float) -> Release:
    return Release(
        number=0,
        digest=digest,
        text=text_digest(files),
        origin="folder",
        proposed_by="",
        proposed_at=now,
        stage=Stage.ACTIVE,
        changed_at=now,
        active_at=now,
    )


def _parts(services: Services) -> ReleaseParts:
    if services.release_parts is None:
        raise Problem("PC7005", "there are no releases of policy here")
    return services.release_parts


class FolderNotice:
    """Says once of each content of the folder that it is not what is in force, nor proposed."""

    def __init__(
        self, config: Config, services: Services, refused: Callable[[Problem], None]
    ) -> None:
        self._place = config.policy
        self._book = _parts(services).book
        self._refused = refused

    async def __call__(self, files: tuple[SourceFile, ...]) -> None:
        """Look at what the folder holds now; nothing for a folder that cannot be read."""
        with contextlib.suppress(Problem):  # a book that cannot be read stops the gate by itself
            text = text_digest(files_of(files))
            if not files or await asyncio.to_thread(self._book.known, text):
                return
            log.error("policy_folder_ignored", code="PC7036", folder=str(self._place))
            self._refused(Problem("PC7036", "the folder has a text that no release has"))


async def guarding(services: Services, alarm: Alarm) -> None:
    """Take a canary back that denies too much, until cancelled; for the one that rules."""
    book = _parts(services).book
    while True:
        with contextlib.suppress(Problem):  # it is looked at again
            await _guard(book, services, alarm)
        await asyncio.sleep(_LOOK_SECONDS)


async def _guard(book: ReleaseBook, services: Services, alarm: Alarm) -> None:
    candidate = (await asyncio.to_thread(book.standing)).candidate
    if candidate is None or candidate.stage is not Stage.CANARY:
        return
    counted = await asyncio.to_thread(book.tallies, candidate.number)
    if not (spiked(counted.canary, counted.rest) and caused(counted)):
        return
    least, most = interval(counted.canary)[0], interval(counted.rest)[1]
    reason = (
        f"denials: {counted.canary.denials} of {counted.canary.decisions} in the canary,"
        f" {counted.rest.denials} of {counted.rest.decisions} beside it"
        f" (of a session's, at least {least:.0%} against at most {most:.0%})"
    )
    said = {"release": candidate.number, "policy": candidate.digest, "reason": reason}
    services.recorder.enqueue(
        changed(services.gateway, services.clock, "policy.release.rollback", said)
    )
    await asyncio.to_thread(
        partial(
            book.move,
            candidate.number,
            Verb.ROLL_BACK,
            by="",
            at=services.clock.now(),
            reason=reason,
        )
    )
    alarm.raised("policy.rollback", f"release:{candidate.number}", reason)


async def recording(services: Services, found_there: asyncio.Queue[InForce]) -> None:
    """Keep on record each policy that the folder put in force; for the one that rules."""
    book = _parts(services).book
    while True:
        found, digest = await found_there.get()
        files = files_of(found)
        release = _found(files, digest, services.clock.now())
        while True:
            try:
                await asyncio.to_thread(book.took, release, files)
                break
            except Problem:  # it is tried again
                await asyncio.sleep(_LOOK_SECONDS)
