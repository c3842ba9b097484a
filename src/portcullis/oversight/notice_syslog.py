"""A notice as one line of syslog (RFC 5424): a sentence, then names and values in quotation marks.

Names that somebody else may have chosen do nothing there: no line ends, no second message begins,
no quotation mark closes. Where the text is more than ASCII it begins with a BOM, as the RFC asks.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from portcullis.core.alert import Level
from portcullis.core.notice import Message
from portcullis.oversight import notice_text
from portcullis.oversight.notice_text import headline, plain
from portcullis.oversight.notices import waiting
from portcullis.wire import syslog

LONGEST: Final = 8192
"""Octets of one message: what receivers take by default."""
_SEVERITIES: Final = {
    Level.INFORMATIONAL: 6,
    Level.LOW: 5,
    Level.MEDIUM: 4,
    Level.HIGH: 3,
    Level.CRITICAL: 2,
}
_NOTICE: Final = 5
_BOM: Final = "\ufeff"


def line(message: Message, host: str) -> bytes:
    """The message, without a frame."""
    alert = message.alert
    values = [f"{name}={_quoted(one)}" for name, one in _pairs(message)]
    said = " ".join((headline(message), *values, f'console="{notice_text.link(message)}"'))
    at = datetime.fromtimestamp(message.at, UTC)
    severity = _NOTICE if alert is None else _SEVERITIES[Level(alert.level)]
    made = syslog.line(severity, at, host, _kind(message), said if said.isascii() else _BOM + said)
    return made if len(made) <= LONGEST else made[:LONGEST].decode("utf-8", "ignore").encode()


def _kind(message: Message) -> str:
    if message.alert is not None:
        return f"alert.{message.subjects[0].stage}"
    if message.action:
        return "approval.waiting" if waiting(message.subjects) else "approval.settled"
    return f"agent.{message.subjects[0].stage}" if message.agent else "test"


def _pairs(message: Message) -> list[tuple[str, str]]:
    """What a program looks for, by names without a space."""
    alert, first = message.alert, message.subjects[0]
    if alert is not None:
        return [
            ("alert", first.id),
            ("rule", alert.rule),
            ("level", alert.level),
            ("state", first.stage),
            ("count", str(first.count)),
            *((f"about.{plain(name)}", value) for name, value in alert.group),
            *(pair for pair in (("by", first.by), ("reason", first.reason)) if pair[1]),
        ]
    found = [(name.lower().replace(" ", "_"), value) for name, value in notice_text.rows(message)]
    found += [("approval", one.id) for one in message.subjects if one.id]
    return [*found, ("notice", message.thread)]


def _quoted(value: str) -> str:
    return '"' + plain(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
