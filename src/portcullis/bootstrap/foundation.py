"""What outlives a process: keys, log, principals, sessions."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sqlalchemy import Engine

from portcullis import __version__
from portcullis.audit.content import ContentStore, Held
from portcullis.audit.feeder import Feeder
from portcullis.audit.log import AuditLog, open_log
from portcullis.audit.pruning import Pruner
from portcullis.audit.quorum import load_quorum
from portcullis.audit.retention_holds import HoldBook
from portcullis.audit.subjects import SubjectKeys
from portcullis.audit.subjects_erasure import Stores, content_path
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap.floor import read_by_all
from portcullis.config import Config
from portcullis.control.approvals import ApprovalParts
from portcullis.control.desk import DeskParts
from portcullis.control.live import Feed
from portcullis.control.privacy import PrivacyParts
from portcullis.control.pruning import PruningParts
from portcullis.control.reviews import ReviewParts
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, KeyManager, Sealer
from portcullis.execution.keysets import key_source
from portcullis.execution.secrets import local_secrets
from portcullis.execution.tls import WebTls
from portcullis.gateway.records import new_id
from portcullis.identity.keymanager import key_manager
from portcullis.identity.keys import derived, issuer_key
from portcullis.identity.oidc import IdTokens
from portcullis.identity.once import LocalOnce
from portcullis.identity.sealing import Envelope
from portcullis.identity.tokens import TokenAuthority
from portcullis.oversight.keeping import KEPT_SECONDS
from portcullis.store.activity import SqlActivity
from portcullis.store.approvals import SqlApprovals
from portcullis.store.directory import SqlDirectory
from portcullis.store.engine import open_sqlite
from portcullis.store.killfeed import LocalKillFeed
from portcullis.store.labels import SqlLabels
from portcullis.store.memories import SqlMemories
from portcullis.store.notices import SqlNotices
from portcullis.store.operators import SqlOperators
from portcullis.store.passkeys import SqlPasskeys
from portcullis.store.pins import SqlPins
from portcullis.store.precedents import SqlPrecedents
from portcullis.store.projection import SqlProjection
from portcullis.store.registrations import SqlRegistrations
from portcullis.store.reviews import SqlReviews
from portcullis.store.sessions import LocalSessionState, SharedSessionState, forget_ended
from portcullis.store.spent import SqlSpent

GATE = "gate"
"""The name of the gate's own log."""
DATABASE = "portcullis.db"
"""Below the state directory: principals, sessions and what else is kept in tables."""
CONTENT = "content"
"""Below the state directory: what of calls is kept, a file for each log."""
CA = "ca"
"""Below the state directory: the trust domain's authority."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


def founded(
    stack: contextlib.ExitStack | contextlib.AsyncExitStack,
    config: Config,
    name: str,
    sealer: Sealer | None = None,
) -> Services:
    """Open what outlives a process: keys, the log called ``name``, principals and sessions.

    The stack closes it. ``gate`` is the gate's own log; the others lie below ``state/mcp``.
    ``sealer`` is the configured one by default. Raises Problem PC6003 while another process
    writes the log, PC7010 when what is sealed does not open.
    """
    clock, state = SystemClock(), config.state
    try:
        for folder in (state, state / "keys"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        detail = f"state: {state} cannot be used: {error.strerror}"
        raise Problem("PC7001", detail, hint="Run `portcullis doctor`.") from None
    sealer = sealer or Envelope(keys_of(config))
    origin = f"{config.trust_domain}/{name}"
    witnesses = feeder_of(config, clock) if name == GATE else None
    recorder = open_log(
        audit_directory(config, name),
        state / "keys" / name,
        origin,
        sealer=sealer,
        queue=config.limits.audit_queue,
        checkpoint_seconds=config.audit.checkpoint_seconds,
        witnesses=witnesses,
    )
    stack.callback(recorder.close)
    engine = open_sqlite(state / DATABASE)
    stack.callback(engine.dispose)
    stores = Stores(state / "keys", state / CONTENT, sealer, name, recorder.subjects)
    book = HoldBook(audit_directory(config))
    precedents = SqlPrecedents(engine, name, recorder.subjects, stores)
    stack.callback(precedents.close)

    def forget() -> None:
        precedents.forget(clock.now() - KEPT_SECONDS)
        forget_ended(engine, clock.now())

    privacy = PrivacyParts(
        name,
        stores,
        book,
        _contents(stack, config, name, recorder.subjects, lambda: stores.held(book.in_force())),
        forget,
    )
    directory = SqlDirectory(engine)
    feed = LocalKillFeed(engine, directory, clock)
    once = LocalOnce(clock)
    approvals = SqlApprovals(engine)
    issuer = issuer_key(state / "keys", sealer)
    return Services(
        authority=TokenAuthority(
            issuer,
            trust_domain=config.trust_domain,
            clock=clock,
            new_id=new_id,
            once=once,
            named=feed.named,
            registered=feed.registered,
            bearer=config.tokens.bearer == "loopback",
            skew=config.tokens.clock_skew_seconds,
        ),
        once=once,
        id_tokens=_id_tokens(config, clock),
        directory=directory,
        registrations=SqlRegistrations(engine),
        operators=SqlOperators(engine),
        pins=SqlPins(engine),
        feed=feed,
        labels=SqlLabels(engine, sealer),
        memories=SqlMemories(engine, sealer),
        spending=SqlSpent(engine),
        sessions=(LocalSessionState if name == GATE else SharedSessionState)(engine, clock, sealer),
        recorder=recorder,
        sealer=sealer,
        clock=clock,
        tokens=config.tokens,
        limits=config.limits,
        trust_domain=config.trust_domain,
        gateway=origin,
        witnesses=witnesses,
        privacy_parts=privacy,
        approval_parts=ApprovalParts(approvals, config.approvals, derived(issuer, "approvals")),
        desk_parts=DeskParts(
            SqlActivity(engine), precedents, Feed(recorder, approvals.changed, clock)
        ),
        review_parts=ReviewParts(
            SqlReviews(engine),
            config.review,
            name,
            config.approvals.owner_may_approve,
            size=lambda: recorder.size,
            since=recorder.size,
            teams=config.approvals.teams,
        ),
        console=config.console,
        console_key=derived(issuer, "console"),
        passkeys=SqlPasskeys(engine),
        notices=SqlNotices(engine),
        pruning_parts=_pruning(config, name, recorder, engine, clock),
        version=__version__,
        new_id=new_id,
    )


def _contents(
    stack: contextlib.ExitStack | contextlib.AsyncExitStack,
    config: Config,
    name: str,
    subjects: SubjectKeys,
    held: Callable[[], Held],
) -> ContentStore | None:
    """Where content is; what was kept before is opened also when none is kept now."""
    settings, path = config.audit.content, content_path(config.state / CONTENT, name)
    if settings.keep == "off" and not path.exists():
        return None
    results, most = settings.keep == "arguments+results", settings.most_bytes
    contents = ContentStore(path, subjects, results=results, most_bytes=most, held=held)
    stack.callback(contents.close)
    return contents


def _pruning(
    config: Config, name: str, recorder: AuditLog, engine: Engine, clock: Clock
) -> PruningParts:
    """What prunes the log; where it has witnesses, the time is what they last vouched at."""
    directory, witnesses = audit_directory(config, name), recorder.witnesses
    pruner = Pruner(
        directory,
        own_verifier(directory),
        recorder,
        forget=partial(SqlProjection(engine).forget, name),
        floor=partial(read_by_all, config, name, directory, gate=name == GATE),
    )

    def now() -> float:
        return clock.now() - (witnesses.age() if witnesses else 0.0)

    return PruningParts(pruner, config.audit.retention, now)


def keys_of(config: Config, *, create: bool | None = None) -> KeyManager:
    """The configured key manager; see ``key_manager`` for ``create`` and its Problems."""
    secret = local_secrets(os.environ).resolve
    return key_manager(config.keys, state=config.state, secret=secret, create=create)


def _id_tokens(config: Config, clock: Clock) -> IdTokens | None:
    issuers = config.identity.oidc
    if not issuers:
        return None
    web = WebTls()
    keys = {name: key_source(one.jwks, tls=web, clock=clock) for name, one in issuers.items()}
    return IdTokens(issuers, keys=keys, clock=clock, skew=config.tokens.clock_skew_seconds)


def authority_of(config: Config, sealer: Sealer | None = None) -> TokenAuthority:
    """What signs this deployment's tokens, for a command; its key is made when there is none."""
    return TokenAuthority(
        issuer_key(config.state / "keys", sealer or Envelope(keys_of(config))),
        trust_domain=config.trust_domain,
        clock=SystemClock(),
        new_id=new_id,
    )


def feeder_of(config: Config, clock: Clock) -> Feeder | None:
    """What has the gate's own log witnessed; a log of ``portcullis mcp`` is not.

    Raises Problem PC6006 for a policy that cannot be used.
    """
    if config.audit.witnesses is None:
        return None
    return Feeder(
        audit_directory(config),
        load_quorum(config.audit.witnesses),
        clock=clock,
        seconds=config.audit.witness_seconds,
    )


def audit_directory(config: Config, name: str = GATE) -> Path:
    """Where a log lies: the gate's own, or that of a ``portcullis mcp``."""
    return config.state / "log" if name == GATE else config.state / "mcp" / name
