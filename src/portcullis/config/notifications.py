"""The section ``notifications``: who is told of calls that wait for a human, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from portcullis.config.common import SECRET, Guarded, HostPort, Name, Section, local
from portcullis.core.call import RiskClass
from portcullis.core.notice import Happening

ADDRESS: Final = r"^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,190}$"
Secret = Annotated[str, Field(pattern=SECRET)]
MailAddress = Annotated[str, Field(pattern=ADDRESS)]


class _Channel(Section):
    """``tell`` are the happenings that are told, all by default; the rest narrows them.

    ``agents`` and ``servers`` are globs. ``details`` are what is added of a decision: who made it
    (``operator``), and the reason that was given. ``per_minute`` is how many messages at most.
    ``ca`` is a file (PEM) with the only authorities that its TLS trusts; without it the system's.
    """

    tell: tuple[Happening, ...] = tuple(Happening)
    risks: tuple[RiskClass, ...] = tuple(RiskClass)
    agents: tuple[str, ...] = ("*",)
    servers: tuple[str, ...] = ("*",)
    details: tuple[Literal["operator", "reason"], ...] = ()
    per_minute: int = Field(default=30, ge=1, le=6000)
    ca: Path | None = None


class WebhookChannel(_Channel):
    """POST of JSON, signed (Standard Webhooks) under each of ``secrets``, the newest first."""

    kind: Literal["webhook"]
    url: Guarded
    secrets: Annotated[tuple[Secret, ...], Field(min_length=1, max_length=5)]


class ChatActions(Section):
    """Deciding by buttons in the chat: never on what deletes or leaves the house.

    ``signing_secret`` is what the chat signs its requests under; ``approvers`` are the operators
    that its users are, by their ids there.
    """

    signing_secret: Secret
    approvers: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,64}$")], Name]


class SlackChannel(_Channel):
    """Slack, or what understands the same.

    Either ``webhook``, a reference to an incoming webhook's URL (which is a secret), or ``token``
    and ``channel``: then the message is amended when something changes, and ``actions`` may be on.
    """

    kind: Literal["slack"]
    webhook: Secret | None = None
    token: Secret | None = None
    channel: str = Field(default="", pattern=r"^[A-Za-z0-9_-]{0,64}$")
    api: Guarded = "https://slack.com/api"
    actions: ChatActions | None = None

    def model_post_init(self, context: object, /) -> None:
        """One of the two ways."""
        del context
        if (self.webhook is None) == (self.token is None) or bool(self.token) != bool(self.channel):
            msg = "give either webhook, or token and channel"
            raise ValueError(msg)
        if self.actions is not None and self.token is None:
            msg = "actions need token and channel"
            raise ValueError(msg)


class EmailChannel(_Channel):
    """Mail over SMTP. ``tls: none`` is for loopback only.

    ``user`` and ``password`` are for AUTH, which is never used in clear.
    """

    kind: Literal["email"]
    server: HostPort
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = Field(default=None, pattern=r"^[ -~]{1,200}$")
    password: Secret | None = None
    sender: MailAddress = Field(alias="from")
    to: Annotated[tuple[MailAddress, ...], Field(min_length=1, max_length=50)]

    def model_post_init(self, context: object, /) -> None:
        """Nothing leaves the machine in clear."""
        del context
        if self.tls == "none" and not local(self.server):
            msg = "tls: none only to loopback (127.0.0.1, [::1], localhost)"
            raise ValueError(msg)
        if (self.user is None) != (self.password is None):
            msg = "user and password go together"
            raise ValueError(msg)
        if self.tls == "none" and self.user is not None:
            msg = "a password needs tls"
            raise ValueError(msg)


class PagerDutyChannel(_Channel):
    """PagerDuty, or what understands its Events API v2; ``routing_key`` is the integration's.

    Whoever is paged is not paged for each held call: ``tell`` is nothing unless it is given.
    """

    kind: Literal["pagerduty"]
    routing_key: Secret
    url: Guarded = "https://events.pagerduty.com/v2/enqueue"
    tell: tuple[Happening, ...] = ()


class SyslogChannel(_Channel):
    """RFC 5424: over TLS (RFC 5425) to ``address``, or on this machine to ``socket``.

    ``tls: false`` is TCP with octet counting (RFC 6587), to loopback only.
    """

    kind: Literal["syslog"]
    address: HostPort | None = None
    socket: Path | None = None
    tls: bool = True

    def model_post_init(self, context: object, /) -> None:
        """One of the two, and nothing leaves the machine in clear."""
        del context
        if (self.address is None) == (self.socket is None):
            msg = "give either address or socket"
            raise ValueError(msg)
        if self.address is not None and not self.tls and not local(self.address):
            msg = "without tls, only to loopback (127.0.0.1, [::1], localhost)"
            raise ValueError(msg)


AnyChannel = Annotated[
    WebhookChannel | SlackChannel | EmailChannel | PagerDutyChannel | SyslogChannel,
    Field(discriminator="kind"),
]
Notifications = dict[Name, AnyChannel]
