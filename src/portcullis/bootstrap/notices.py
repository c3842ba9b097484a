"""Notifications: from the configuration to what runs beside the gate, and its figures."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Gauge

from portcullis.audit.export.stream import SyslogTarget
from portcullis.bootstrap.background import background
from portcullis.bootstrap.keys import SystemClock, keys_of
from portcullis.bootstrap.records import recorded, records
from portcullis.bootstrap.secret_sources import given_out, sources_of, used_by
from portcullis.config import Config
from portcullis.config.notifications import (
    AnyChannel,
    EmailChannel,
    PagerDutyChannel,
    SlackChannel,
    SyslogChannel,
    WebhookChannel,
)
from portcullis.control.chat import Buttons, Chat
from portcullis.control.console.guard import own_url
from portcullis.control.services import Services
from portcullis.core.alert import LEVELS, Hears, Level
from portcullis.core.alert_ports import AlertChanges
from portcullis.core.errors import Problem
from portcullis.core.notice import Message, Subject
from portcullis.core.notice_ports import Later, Never, NoticeStore, Teller
from portcullis.core.ports import Clock, SecretSource
from portcullis.execution.notify.mail import MailTeller
from portcullis.execution.notify.pagerduty import PagerDutyTeller
from portcullis.execution.notify.slack import AppTeller, IncomingTeller
from portcullis.execution.notify.syslog import SocketTeller, SyslogTeller
from portcullis.execution.notify.web import Web
from portcullis.execution.notify.webhook import WebhookTeller
from portcullis.gateway.records import changed, new_id
from portcullis.identity.sealing import Envelope
from portcullis.oversight.telling import Channel
from portcullis.store.notices import SqlNotices

_FORGET_EVERY: Final = 3600.0
_KEPT_SECONDS: Final = 30 * 86_400.0

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def telling(
    config: Config,
    services: Services,
    registry: CollectorRegistry,
    control_url: str,
    subscribe: Callable[[Callable[[], None]], None],
) -> AsyncIterator[None]:
    """Tell the configured channels beside the block. One process of a deployment does: the gate.

    ``subscribe`` takes what is to be called, on any thread, when there is something new to tell.

    Raises Problem PC7001 when a file of authorities cannot be used.
    """
    approvals, notices = services.approval_parts, services.notices
    if approvals is None or notices is None:
        yield
        return
    clock, gateway, recorder = services.clock, services.gateway, services.recorder
    secrets = given_out(services)

    def noticed(method: str, said: dict[str, str]) -> None:
        recorder.enqueue(changed(gateway, clock, method, said))

    channels = [
        Channel(
            name,
            settings,
            teller(name, settings, used_by(secrets, place(name)), clock, config.trust_domain),
            store=notices,
            approvals=approvals.store,
            clock=clock,
            noticed=noticed,
            origin=lambda: console_of(config, control_url),
            alerts=_alerts(config, services, name),
        )
        for name, settings in config.notifications.items()
    ]
    _figures(registry, channels)
    loop = asyncio.get_running_loop()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nothing is told any more
            for channel in channels:
                loop.call_soon_threadsafe(channel.wake)

    subscribe(wake)
    async with contextlib.AsyncExitStack() as stack:
        for channel in channels:
            stack.push_async_callback(channel.close)
            await stack.enter_async_context(background(channel.run()))
        forgetting = _forgetting(notices, clock, config.notifications.keys())
        await stack.enter_async_context(background(forgetting))
        yield


def _alerts(
    config: Config, services: Services, name: str
) -> tuple[AlertChanges, tuple[Hears, ...]] | None:
    """What a channel is told of alerts: at once, and when nobody takes them on."""
    told = (config.alerts.tell, *(one.tell for one in config.alerts.escalate))
    hears = tuple(
        Hears(step, LEVELS[Level(levels[name])])
        for step, levels in enumerate(told)
        if name in levels
    )
    if not hears or services.alert_parts is None:
        return None
    return services.alert_parts.changes, hears


async def told_once(config: Config, name: str) -> None:
    """Send a channel a test message. Raises Problem PC8001, PC8002."""
    settings = config.notifications.get(name)
    if settings is None:
        raise Problem("PC8002", "notifications has no channel of this name")
    clock, sealer = SystemClock(), Envelope(keys_of(config))
    secrets = sources_of(config, os.environ, sealer).registry
    one = teller(name, settings, secrets, clock, config.trust_domain)
    thread = new_id()
    test = Message(
        id=f"{thread}-1",
        thread=thread,
        turn=1,
        agent="",
        subjects=(Subject(id="", stage="test"),),
        at=clock.now(),
        origin=console_of(config, f"http://{config.listen.control}"),
    )
    try:
        await one.tell(test, "")
    except (Later, Never) as error:
        raise Problem("PC8001", f"{name}: {error}") from None
    finally:
        await one.close()


@contextlib.contextmanager
def notices_of(config: Config) -> Iterator[SqlNotices | None]:
    """The notices, for a command; None when there is no database."""
    if not recorded(config):
        yield None
        return
    engine = records(config)
    try:
        yield SqlNotices(engine)
    finally:
        engine.dispose()


def chat(config: Config, services: Services) -> Chat | None:
    """What decides by the buttons of chats; None where no channel has any."""
    secrets = given_out(services)
    channels = {
        name: Buttons(
            partial(_revealed, used_by(secrets, place(name)), one.actions.signing_secret),
            one.actions.approvers,
        )
        for name, one in config.notifications.items()
        if isinstance(one, SlackChannel) and one.actions is not None
    }
    if not channels or services.notices is None:
        return None
    return Chat(
        channels,
        approving=services.approvals("chat"),
        directory=services.directory,
        notices=services.notices,
        once=services.once,
        clock=services.clock,
        roles=services.operator_roles,
    )


def place(name: str) -> str:
    """What a channel is called among those who use secrets."""
    return f"notifications.{name}"


def console_of(config: Config, control_url: str) -> str:
    """Where links lead: the origin that the console is configured for, or its own name here."""
    return config.console.origin or own_url(control_url, config.console.name)


def teller(
    name: str, settings: AnyChannel, secrets: SecretSource, clock: Clock, domain: str
) -> Teller:
    """The adapter of one channel; ``domain`` stands in the ids of mails and in pages."""
    tls = _tls(name, settings.ca)
    match settings:
        case WebhookChannel(url=url, secrets=references):
            keys = partial(_resolved, secrets, references)
            return WebhookTeller(url, Web(tls), keys, clock)
        case SlackChannel(webhook=str() as webhook):
            return IncomingTeller(partial(_revealed, secrets, webhook), Web(tls))
        case SlackChannel(api=api, channel=channel):
            token = partial(_revealed, secrets, settings.token or "")
            buttons = settings.actions is not None
            return AppTeller(api, channel, token, Web(tls), buttons=buttons)
        case EmailChannel():
            return MailTeller(
                settings.server,
                tls=None if settings.tls == "none" else tls,
                starttls=settings.tls == "starttls",
                login=_login(settings, secrets),
                sender=settings.sender,
                to=settings.to,
                domain=domain,
            )
        case PagerDutyChannel(url=url, routing_key=key):
            return PagerDutyTeller(url, Web(tls), partial(_revealed, secrets, key), domain)
        case SyslogChannel():
            return _syslog(settings, tls)


def _syslog(settings: SyslogChannel, tls: ssl.SSLContext) -> Teller:
    name = socket.gethostname()
    if settings.socket is not None:
        return SocketTeller(settings.socket, name)
    host, _, port = (settings.address or "").rpartition(":")
    secure = tls if settings.tls else None
    return SyslogTeller(SyslogTarget(host.strip("[]"), int(port), tls=secure), name)


def references(settings: AnyChannel) -> tuple[str, ...]:
    """The secrets that a channel needs."""
    match settings:
        case WebhookChannel():
            return settings.secrets
        case SlackChannel():
            signing = settings.actions.signing_secret if settings.actions else None
            return tuple(filter(None, (settings.webhook, settings.token, signing)))
        case EmailChannel():
            return tuple(filter(None, (settings.password,)))
        case PagerDutyChannel():
            return (settings.routing_key,)
        case SyslogChannel():
            return ()


def _revealed(secrets: SecretSource, wanted: str) -> str:
    return secrets.resolve(wanted).reveal()


def _resolved(secrets: SecretSource, wanted: tuple[str, ...]) -> list[str]:
    return [secrets.resolve(one).reveal() for one in wanted]


def _login(settings: EmailChannel, secrets: SecretSource) -> Callable[[], tuple[str, str] | None]:
    user, password = settings.user, settings.password
    if user is None or password is None:
        return lambda: None
    return lambda: (user, secrets.resolve(password).reveal())


def _tls(name: str, authorities: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer against ``authorities`` alone, or the system's."""
    try:
        context = ssl.create_default_context(cafile=authorities)
    except OSError as error:
        detail = f"notifications.{name}: ca: {error.strerror or 'no certificate in it'}"
        raise Problem("PC7001", detail) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def _forgetting(notices: NoticeStore, clock: Clock, channels: Collection[str]) -> None:
    """Drop what is long over, every hour, for ever."""
    while True:
        try:
            await asyncio.to_thread(notices.forget, clock.now() - _KEPT_SECONDS, channels)
        except Exception as error:  # noqa: BLE001 - it is tried again
            log.warning("notices_not_forgotten", fault=type(error).__name__)
        await asyncio.sleep(_FORGET_EVERY)


def _figures(registry: CollectorRegistry, channels: list[Channel]) -> None:
    """What /metrics shows of each channel, read at each scrape."""
    shown: tuple[tuple[str, str, Callable[[Channel], float]], ...] = (
        ("sent", "Messages that the channel has taken.", lambda one: one.state.sent),
        ("failures", "Attempts that failed.", lambda one: one.state.failures),
        ("given_up", "Messages given up.", lambda one: one.state.given_up),
        ("waiting", "Messages that the channel is still to get.", lambda one: one.state.waiting),
        ("damaged", "Notices that could not be read.", lambda one: one.state.damaged),
        ("failing", "1 while the channel takes none.", lambda one: one.state.failing),
    )
    for name, about, read in shown:
        gauge = Gauge(f"portcullis_notifications_{name}", about, ["channel"], registry=registry)
        for channel in channels:
            gauge.labels(channel.name).set_function(_reading(read, channel))


def _reading(read: Callable[[Channel], float], channel: Channel) -> Callable[[], float]:
    return lambda: float(read(channel))
