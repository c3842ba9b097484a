"""A witness as a process of its own: its keys, its state, its listener. No gate's anything."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from portcullis.audit.note import Verifier
from portcullis.audit.witness import Witness, open_witness
from portcullis.bootstrap.keys import SystemClock
from portcullis.bootstrap.records import DATABASE, LOCK
from portcullis.config.identity import FileKeys, KeyManagerSettings
from portcullis.core.credential import Peer
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.core.principal import Principal, Session
from portcullis.execution.secrets import local_secrets
from portcullis.gateway.listener import Listener
from portcullis.gateway.live import Live
from portcullis.gateway.witness import WitnessApp
from portcullis.identity.keymanager import key_manager
from portcullis.identity.sealing import Envelope

_SECONDS = 10.0
"""In which a request must arrive, and in which those that run may end."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RunningWitness:
    """Where a witness listens, and its verifier key."""

    url: str
    vkey: str


@contextlib.contextmanager
def opened_witness(
    directory: Path,
    name: str,
    logs: Sequence[Verifier],
    *,
    keys: KeyManagerSettings | None = None,
    clock: Clock | None = None,
) -> Iterator[Witness]:
    """Open a witness until the block ends, and make it at first; see ``audit.witness``.

    Its key is sealed by the key manager in ``keys``, by default a file below its state.
    """
    sources = local_secrets(os.environ)

    def secret(reference: str) -> str:
        return sources.resolve(reference).reveal()

    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        manager = key_manager(
            keys or FileKeys(), state=directory, secret=secret, create=_unsealed(directory)
        )
        by_origin: dict[str, list[Verifier]] = {}
        for verifier in logs:
            by_origin.setdefault(verifier.name, []).append(verifier)
        witness = open_witness(
            directory, name, by_origin, sealer=Envelope(manager), clock=clock or SystemClock()
        )
    except OSError as error:
        raise Problem("PC7001", f"{directory} cannot be used: {error.strerror}") from None
    try:
        yield witness
    finally:
        witness.close()


@contextlib.asynccontextmanager
async def running_witness(witness: Witness, listen: str) -> AsyncIterator[RunningWitness]:
    """Serve a witness at ``host:port`` until the block ends; requests that run are finished.

    Raises Problem PC7001 when it cannot listen there.
    """
    listener = Listener(
        WitnessApp(witness),
        listen,
        refused=_refused,
        live=Live(_NobodyCutOff(), _Nobody(), "", SystemClock()),
        seconds=_SECONDS,
        drain_seconds=_SECONDS,
        stalled_seconds=_SECONDS,
    )
    await listener.open()
    try:
        yield RunningWitness(listener.url, witness.vkey)
    finally:
        await listener.close()


def gate_around(directory: Path) -> Path | None:
    """The state directory of a gate that is or holds ``directory``: no place for its witness."""
    place = directory.resolve()
    around = (place, *place.parents)
    known = (DATABASE, LOCK)
    return next((one for one in around if any((one / name).exists() for name in known)), None)


def _unsealed(directory: Path) -> bool:
    return not (directory / "witness.key").exists()


def _refused(problem: Problem, peer: str, **who: str) -> Problem:
    log.warning("request_refused", code=problem.code, peer=peer, **who)
    return problem


class _NobodyCutOff:
    """A kill feed for a listener without principals."""

    def stale(self) -> bool:
        """Never."""
        return False

    def reason(self, principal: Principal, session: Session | None) -> str | None:
        """For nobody."""
        del principal, session
        return None

    def isolated(self, principal: Principal, session: Session | None) -> str | None:
        """Nobody."""
        del principal, session
        return None

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Nothing changes."""
        del changed


class _Nobody:
    """Nobody shows a certificate."""

    def holds(self, peer: Peer) -> bool:
        """Trust none."""
        del peer
        return False
