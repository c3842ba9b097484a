"""What ``portcullis doctor`` says of the channels that people are told by."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from portcullis.cli.doctor_finding import Finding, reachable
from portcullis.config.common import guarded
from portcullis.config.notifications import (
    AnyChannel,
    EmailChannel,
    PagerDutyChannel,
    SlackChannel,
    SyslogChannel,
    WebhookChannel,
)
from portcullis.core.errors import Problem
from portcullis.execution.secrets import Secrets
from portcullis.wire import webhooks

SHORTEST_KEY = 24
"""Bytes of a key that signs webhooks (Standard Webhooks 1.0)."""


def channel(name: str, settings: AnyChannel, secrets: Secrets) -> Iterator[Finding]:
    """Whether a channel can be reached; the URL of an incoming webhook is a secret."""
    match settings:
        case (
            WebhookChannel(url=url) | SlackChannel(token=str(), api=url) | PagerDutyChannel(url=url)
        ):
            where = url
        case SlackChannel(webhook=str() as reference):
            with contextlib.suppress(Problem):  # which has been told
                found = _webhook(name, secrets.resolve(reference).reveal())
                told = f"{reference}: {found.found}"
                yield found._replace(what=f"channel {name}", found=told)
            return
        case EmailChannel(server=server):
            where = f"smtp://{server}"
        case SyslogChannel(address=str() as server):
            where = f"syslog://{server}"
        case SyslogChannel(socket=path):
            there = path is not None and path.is_socket()
            do = f"Start what listens there, or change notifications.{name}.socket."
            yield Finding(f"channel {name}", there, str(path), do)
            return
    yield reachable(name, where)._replace(what=f"channel {name}")
    if isinstance(settings, WebhookChannel):
        for reference in settings.secrets:
            yield from _webhook_key(name, reference, secrets)


def _webhook(name: str, url: str) -> Finding:
    """An incoming webhook, of whose URL nothing is said."""
    try:
        found = reachable(name, guarded(url))
    except ValueError:
        return Finding(name, ok=False, found="no https URL", do="Copy the webhook's URL there.")
    return found._replace(found="accepts connections" if found.ok else "no connection")


def _webhook_key(name: str, reference: str, secrets: Secrets) -> Iterator[Finding]:
    """A key that is shorter than Standard Webhooks says."""
    with contextlib.suppress(Problem):  # which has been told
        found = len(webhooks.key(secrets.resolve(reference).reveal()))
        if found < SHORTEST_KEY:
            do = "Make one: echo whsec_$(head -c 32 /dev/urandom | base64 -w0)"
            said = f"{reference} is {found} bytes, less than {SHORTEST_KEY}"
            yield Finding(f"key of notifications.{name}", ok=False, found=said, do=do)
