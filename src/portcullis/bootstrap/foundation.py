"""What outlives a process: keys, log, principals, sessions."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from portcullis import __version__
from portcullis.audit.log import open_log
from portcullis.config import Config
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.gateway.records import new_id
from portcullis.identity.keys import issuer_key
from portcullis.identity.tokens import TokenAuthority
from portcullis.store.directory import SqlDirectory
from portcullis.store.engine import open_sqlite
from portcullis.store.killfeed import LocalKillFeed
from portcullis.store.sessions import LocalSessionState, SharedSessionState

GATE = "gate"
"""The name of the gate's own log."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


def founded(
    stack: contextlib.ExitStack | contextlib.AsyncExitStack, config: Config, name: str
) -> Services:
    """Open what outlives a process: keys, the log called ``name``, principals and sessions.

    The stack closes it. ``gate`` is the gate's own log; the others lie below ``state/mcp``.
    Raises Problem PC6003 while another process writes the log.
    """
    clock, state = SystemClock(), config.state
    try:
        for folder in (state, state / "keys"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        detail = f"state: {state} cannot be used: {error.strerror}"
        raise Problem("PC7001", detail, hint="Run `portcullis doctor`.") from None
    origin = f"{config.trust_domain}/{name}"
    recorder = open_log(
        audit_directory(config, name),
        state / "keys" / name,
        origin,
        queue=config.limits.audit_queue,
        checkpoint_seconds=config.audit.checkpoint_seconds,
    )
    stack.callback(recorder.close)
    engine = open_sqlite(state / "portcullis.db")
    stack.callback(engine.dispose)
    directory = SqlDirectory(engine)
    return Services(
        authority=authority_of(config),
        directory=directory,
        feed=LocalKillFeed(engine, directory, clock),
        sessions=(LocalSessionState if name == GATE else SharedSessionState)(engine, clock),
        recorder=recorder,
        clock=clock,
        tokens=config.tokens,
        limits=config.limits,
        gateway=origin,
        version=__version__,
        new_id=new_id,
    )


def authority_of(config: Config) -> TokenAuthority:
    """The issuer of this deployment's tokens; its key is made when there is none."""
    return TokenAuthority(
        issuer_key(config.state / "keys"),
        trust_domain=config.trust_domain,
        clock=SystemClock(),
        new_id=new_id,
    )


def audit_directory(config: Config, name: str = GATE) -> Path:
    """Where a log lies: the gate's own, or that of a ``portcullis mcp``."""
    return config.state / "log" if name == GATE else config.state / "mcp" / name
