"""What outlives a process: keys, log, principals, sessions."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from portcullis import __version__
from portcullis.audit.beside import Beside
from portcullis.audit.content import ContentStore, Held
from portcullis.audit.feeder import Feeder
from portcullis.audit.log import AuditLog, open_log
from portcullis.audit.pruning import Pruner
from portcullis.audit.quorum import load_quorum
from portcullis.audit.recipients import load_recipients
from portcullis.audit.retention_holds import HOLDS, HoldBook, HoldFile
from portcullis.audit.subjects import SubjectKeys
from portcullis.audit.subjects_erasure import Stores, content_path
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap.elsewhere import erases_elsewhere
from portcullis.bootstrap.feed import killed
from portcullis.bootstrap.floor import read_by_all
from portcullis.bootstrap.hosts_retired import retiring_hosts
from portcullis.bootstrap.incidents import incident_parts
from portcullis.bootstrap.keys import SystemClock, keys_of
from portcullis.bootstrap.on_behalf import grants_of
from portcullis.bootstrap.records import LOCK, records
from portcullis.bootstrap.releases import release_parts
from portcullis.bootstrap.secrets import secret_parts_of
from portcullis.bootstrap.sharing import once_of, server_of, sessions_of
from portcullis.bootstrap.surveying import certifying_parts
from portcullis.config import Config
from portcullis.config.places import GATE, Role, audit_directory, gateway_logs, ruling_logs
from portcullis.control.alerts import AlertParts
from portcullis.control.approvals import ApprovalParts
from portcullis.control.behaviour import BehaviourParts, thresholds_of
from portcullis.control.break_glass import GlassParts
from portcullis.control.desk import DeskParts
from portcullis.control.live import Feed
from portcullis.control.privacy import PrivacyParts
from portcullis.control.pruning import PruningParts
from portcullis.control.reviews import ReviewParts
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, Directory, Sealer
from portcullis.core.principal import PrincipalKind
from portcullis.execution.keysets import key_source
from portcullis.execution.tls import WebTls
from portcullis.gateway.records import new_id
from portcullis.identity.keys import derived, issuer_key, kill_key
from portcullis.identity.oidc import IdTokens
from portcullis.identity.orders import OrderBook
from portcullis.identity.sealing import Envelope
from portcullis.identity.tokens import TokenAuthority
from portcullis.oversight.keeping import KEPT_SECONDS
from portcullis.store.activity import SqlActivity
from portcullis.store.alerts import SqlAlerts
from portcullis.store.approvals import SqlApprovals
from portcullis.store.behaviour import SqlBehaviour
from portcullis.store.break_glass import SqlBreakGlass
from portcullis.store.breakers import SqlBreakers
from portcullis.store.directory import SqlDirectory
from portcullis.store.killfeed import LocalKillFeed
from portcullis.store.labels import SqlLabels
from portcullis.store.mark import MARKED
from portcullis.store.memories import SqlMemories
from portcullis.store.notices import SqlNotices
from portcullis.store.operators import SqlOperators
from portcullis.store.passkeys import SqlPasskeys
from portcullis.store.pins import SqlPins
from portcullis.store.precedents import SqlPrecedents
from portcullis.store.projection import SqlProjection
from portcullis.store.registrations import SqlRegistrations
from portcullis.store.reviews import SqlReviews
from portcullis.store.ruling import only
from portcullis.store.sessions import forget_ended
from portcullis.store.spent import SqlSpent

CONTENT = "content"
"""Below the state directory: what of calls is kept, a file for each log."""
CA = "ca"
"""Below the state directory: the trust domain's authority."""


def founded(
    stack: contextlib.ExitStack | contextlib.AsyncExitStack,
    config: Config,
    name: str,
    sealer: Sealer | None = None,
) -> Services:
    """Open what outlives a process: keys, the log called ``name``, principals and sessions.

    The stack closes it. The name says what the process is to the deployment (``places.Role``).
    ``sealer`` is the configured one by default. Raises Problem PC6003 while another process
    writes the log, or rules where this one would, PC7010 when what is sealed does not open, PC7081
    for anything but a gateway in a folder whose control plane is elsewhere.
    """
    clock, state, role = SystemClock(), config.state, Role.of(name)
    if config.apart and role is not Role.GATEWAY:
        raise Problem("PC7081", f"{state} is the folder of gateways, not of a control plane")
    try:
        for folder in (state, state / "keys"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        detail = f"state: {state} cannot be used: {error.strerror}"
        raise Problem("PC7001", detail, hint="Run `portcullis doctor`.") from None
    if role.rules:
        stack.enter_context(ruling(state))
    sealer = sealer or Envelope(keys_of(config))
    origin = f"{config.trust_domain}/{name}"
    witnesses = feeder_of(config, clock, name) if role.lasting else None
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
    engine = records(config)
    stack.callback(engine.dispose)
    rule = stack.enter_context(only(engine, "control", state / MARKED)) if role.rules else None
    stores = Stores(state / "keys", state / CONTENT, sealer, name, recorder.subjects)
    book = HoldFile(state / HOLDS) if config.apart else HoldBook(*ruling_logs(config))
    precedents = SqlPrecedents(engine, name, recorder.subjects, stores)
    stack.callback(precedents.close)

    grants = grants_of(stack, config, engine, sealer)

    def forget() -> None:
        if grants is not None:
            grants.forget(clock.now())
        kept = 0.0 if config.audit.content.encrypt_to else KEPT_SECONDS  # what we could read goes
        precedents.forget(clock.now() - kept)
        forget_ended(engine, clock.now())

    privacy = PrivacyParts(
        name,
        stores,
        book,
        _contents(stack, config, name, recorder.subjects, lambda: stores.held(book.in_force())),
        forget,
        erases_elsewhere(config, engine, sealer),
    )
    directory = SqlDirectory(engine)
    feed = LocalKillFeed(engine, directory, clock)
    order_key = kill_key(state / "keys", sealer)
    orders = OrderBook(state, order_key.public_key(), clock)
    if orders.killed is not None:
        killed(feed, orders.killed, rules=role.rules)
    server = server_of(stack, config, role, clock)
    once = once_of(stack, config, role, clock, server)
    approvals = SqlApprovals(engine)
    alerts = SqlAlerts(engine, clock, new_id, config.alerts.gather_minutes * 60.0)
    issuer = issuer_key(state / "keys", sealer)
    secret_parts = secret_parts_of(config, engine, directory, sealer, recorder, name)
    stack.callback(secret_parts.broker.close)
    return Services(
        authority=TokenAuthority(
            issuer,
            trust_domain=config.trust_domain,
            clock=clock,
            new_id=new_id,
            once=once,
            named=feed.named,
            registered=_registered(feed, directory, role),
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
        rule=rule,
        labels=SqlLabels(engine, sealer),
        memories=SqlMemories(engine, sealer),
        spending=SqlSpent(engine),
        breakers=SqlBreakers(engine, origin),
        sessions=sessions_of(stack, config, role, engine, clock, sealer, server),
        recorder=recorder,
        sealer=sealer,
        clock=clock,
        tokens=config.tokens,
        limits=config.limits,
        trust_domain=config.trust_domain,
        gateway=origin,
        witnesses=witnesses,
        privacy_parts=privacy,
        approval_parts=ApprovalParts(
            approvals, config.approvals, derived(issuer, "approvals"), config.environment
        ),
        desk_parts=DeskParts(
            SqlActivity(engine),
            precedents,
            Feed(_tap(config, name, recorder), approvals.changed, clock),
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
        behaviour_parts=BehaviourParts(
            SqlBehaviour(engine), config.behaviour, thresholds_of(config.behaviour)
        ),
        alert_parts=AlertParts(alerts, alerts),
        incident_parts=incident_parts(config, engine, secret_parts.rotations),
        secret_parts=secret_parts,
        release_parts=release_parts(config, engine, sealer),
        glass_parts=GlassParts(
            SqlBreakGlass(engine), config.break_glass, config.tokens.operator_ttl_seconds
        ),
        certifying_parts=certifying_parts(config, engine, sealer, clock),
        console=config.console,
        console_key=derived(issuer, "console"),
        feed_key=derived(issuer, "feed"),
        orders=orders,
        kill_key=order_key,
        passkeys=SqlPasskeys(engine),
        grants=grants,
        notices=SqlNotices(engine),
        pruning_parts=_pruning(config, name, recorder, engine, clock),
        hosts=retiring_hosts(config, engine, sealer),
        version=__version__,
        new_id=new_id,
        operator_roles=config.operator_roles,
    )


def _registered(
    feed: LocalKillFeed, directory: Directory, role: Role
) -> Callable[[PrincipalKind, str], bool]:
    """Whether there is such a principal.

    Where another process registers them, one that is not known yet is looked up: it may be used
    as soon as whoever registered it knows that it was. A fault is a no.
    """
    if role.alone:
        return feed.registered

    def registered(kind: PrincipalKind, name: str) -> bool:
        if feed.registered(kind, name):
            return True
        try:
            return directory.get(kind, name) is not None
        except SQLAlchemyError:
            return False

    return registered


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
    sealed_to = settings.encrypt_to
    contents = ContentStore(
        *(path, subjects),
        results=results,
        most_bytes=most,
        held=held,
        recipients=None if sealed_to is None else load_recipients(sealed_to),
    )
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
        floor=partial(read_by_all, config, name, directory, lasting=Role.of(name).lasting),
    )

    def now() -> float:
        return clock.now() - (witnesses.age() if witnesses else 0.0)

    return PruningParts(pruner, config.audit.retention, now)


def _tap(config: Config, name: str, recorder: AuditLog) -> AuditLog | Beside:
    """What a process can watch: the control plane all gateways, everyone else its own log."""
    if Role.of(name) is not Role.CONTROL:
        return recorder
    return Beside(recorder, lambda: gateway_logs(config))


def _id_tokens(config: Config, clock: Clock) -> IdTokens | None:
    issuers = config.identity.oidc
    if not issuers:
        return None
    web = WebTls()
    keys = {name: key_source(one.jwks, tls=web, clock=clock) for name, one in issuers.items()}
    return IdTokens(issuers, keys=keys, clock=clock, skew=config.tokens.clock_skew_seconds)


def feeder_of(config: Config, clock: Clock, name: str = GATE) -> Feeder | None:
    """What has a lasting log witnessed.

    Raises Problem PC6006 for a policy that cannot be used.
    """
    if config.audit.witnesses is None:
        return None
    return Feeder(
        audit_directory(config, name),
        load_quorum(config.audit.witnesses),
        clock=clock,
        seconds=config.audit.witness_seconds,
    )


@contextlib.contextmanager
def ruling(state: Path) -> Iterator[None]:
    """Be the only process that rules the deployment in this folder. Problem PC6003 if one does."""
    file = os.open(state / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Problem("PC6003", f"another process has the control of {state}") from None
        yield
    finally:
        os.close(file)
