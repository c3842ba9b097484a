"""What incidents are told of the past, and what rotates secrets for them: put together."""

from __future__ import annotations

import time
from functools import partial
from typing import Final

from sqlalchemy import Engine

from portcullis import __version__
from portcullis.audit.export.source import Source
from portcullis.audit.files import replace
from portcullis.audit.keys import load_signer
from portcullis.audit.note import Signer
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap.keys import keys_of
from portcullis.bootstrap.secret_sources import Sources
from portcullis.config import Config
from portcullis.config.places import audit_directory, logs_of, own_log
from portcullis.control.incidents_parts import History
from portcullis.core.incident import Rotated
from portcullis.core.lifecycle import State
from portcullis.core.ports import Directory
from portcullis.core.principal import PrincipalKind
from portcullis.core.secret_ports import Leases, Rotation
from portcullis.execution.rotation import RotatingSecrets
from portcullis.identity.sealing import Envelope
from portcullis.review.incident_access import LogAccess, configured, outdated
from portcullis.review.incident_findings import LogFindings
from portcullis.review.incident_logs import Logs, damage
from portcullis.review.incident_meaning import Meaning, meaning_in
from portcullis.review.incident_radius import LogRadius
from portcullis.review.incident_report import Reporting
from portcullis.review.incident_timeline import LogTimeline
from portcullis.store.happened import SqlHappened
from portcullis.store.projection import Projector, SqlProjection

KEY: Final = "incidents.key"
"""The sealed key of incidents' reports, among the keys of the log of who rules."""
VKEY: Final = "incidents.vkey"
"""Its public half, beside that log."""
_MEANING_SECONDS: Final = 5.0
_PROJECT_SECONDS: Final = 60.0
_SPACING_SECONDS: Final = 0.01
"""Between two transactions: the gate's other writers go first."""


def history_of(config: Config, engine: Engine) -> History:
    """Over the record store behind ``engine`` and all logs that there are when it is asked."""
    meant = _Remembered(config)
    happened = SqlHappened(engine, meant.role_of)

    def logs() -> Logs:
        return Logs(logs_of(config))

    newest = partial(_projected, config, engine)
    radius = LogRadius(happened, newest, meant)
    return History(
        timeline=LogTimeline(happened, logs),
        findings=LogFindings(happened, newest, meant),
        radius=radius,
        reporting=Reporting(happened, logs, radius, __version__),
        signer=partial(report_signer, config),
        logs=logs,
    )


class _Remembered:
    """What the policy's folder says, read again after a moment: a page asks for it many times."""

    def __init__(self, config: Config) -> None:
        self._folder = config.policy
        self._known: tuple[float, Meaning] | None = None

    def __call__(self) -> Meaning:
        """What the policy says. Blocks."""
        known, now = self._known, time.monotonic()
        if known is None or now - known[0] > _MEANING_SECONDS:
            known = self._known = now, meaning_in(self._folder)
        return known[1]

    def role_of(self, agent: str) -> str:
        """The role of an agent, empty for none."""
        return self().roles.get(agent, "")


def _projected(config: Config, engine: Engine) -> Logs:
    """The logs, after what they have signed was projected: what nobody saw must not be missed.

    It takes a moment at most, but after an upgrade, when all of it is projected anew.
    """
    projection, places = SqlProjection(engine), logs_of(config)
    until = time.monotonic() + _PROJECT_SECONDS
    for name, place in places.items():
        with damage(name):
            projector = Projector(projection, name, Source(place, own_verifier(place)))
            while projector.step() and time.monotonic() < until:
                time.sleep(_SPACING_SECONDS)
    return Logs(places)


def report_signer(config: Config) -> Signer:
    """The key of incidents' reports, made on first use; its public half lies beside the log.

    Raises Problem PC6002 or PC7010 when it cannot be used.
    """
    name = own_log(config)
    signer = load_signer(
        config.state / "keys" / name,
        KEY,
        f"{config.trust_domain}/incidents",
        Signer,
        create=True,
        sealer=Envelope(keys_of(config)),
    )
    replace(audit_directory(config, name) / VKEY, f"{signer.verifier}\n".encode())
    return signer


def rotations_of(
    config: Config, engine: Engine, directory: Directory, sources: Sources, leases: Leases
) -> RotatingSecrets:
    """What rotates the secrets that the configuration names; see ``incidents.rotation``."""
    happened = SqlHappened(engine)
    newest = partial(_projected, config, engine)
    meant = partial(meaning_in, config.policy)
    access = LogAccess(config, happened, newest, meant, leases)

    def told(done: Rotated) -> None:
        leases.rotated(
            Rotation(
                reference=done.reference,
                at=time.time(),
                rotated=done.rotated,
                verified=done.verified,
                fault=done.fault,
            )
        )

    def revoked(name: str) -> str:
        record = directory.get(PrincipalKind.AGENT, name)
        if record is None or record.state is State.REVOKED:
            return ""
        return outdated(happened, newest(), name, record.rotated_at)

    return RotatingSecrets(
        known=access.known,
        anew=sources.registry.anew,
        hooks=sources.hooks,
        configured=[one.reference for one in configured(config)],
        outdated=revoked,
        told=told,
    )
