"""A notice as an event of PagerDuty's Events API v2 (developer.pagerduty.com).

One notice is one alert there, whose ``dedup_key`` is the notice's own: what is raised again after
it was resolved is another, so that nothing that ends an old one ends a new one. A summary has at
most 1024 characters, a request 512 KB.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from portcullis.core.alert import Level
from portcullis.core.notice import Message
from portcullis.oversight.notice_text import each, headline, link, more, plain, rows
from portcullis.oversight.notices import waiting
from portcullis.wire.json import encode

Action: TypeAlias = Literal["trigger", "acknowledge", "resolve"]
SUMMARY: Final = 1024
"""Most characters of a summary."""
BODY: Final = 512 * 1000
"""Most bytes of a request."""
_SEVERITIES: Final = {
    Level.INFORMATIONAL: "info",
    Level.LOW: "info",
    Level.MEDIUM: "warning",
    Level.HIGH: "error",
    Level.CRITICAL: "critical",
}
_CALL: Final = "warning"
"""Of a call that waits, or an agent that may ask no more."""


def action(message: Message) -> Action:
    """What becomes of the alert there."""
    stage = message.subjects[0].stage
    if message.alert is not None:
        if stage == "resolved":
            return "resolve"
        return "acknowledge" if stage == "acknowledged" else "trigger"
    if message.action:
        return "trigger" if waiting(message.subjects) else "resolve"
    return "resolve" if stage == "lifted" else "trigger"


def event(message: Message, routing_key: str, source: str, *, act: Action | None = None) -> bytes:
    """The request's body; ``source`` is which gate this is. ``act`` is in place of ``action``."""
    act = act or action(message)
    made: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": act,
        "dedup_key": f"portcullis-{message.thread}",
    }
    if act != "trigger":
        return encode(made)
    alert = message.alert
    summary = headline(message)
    payload: dict[str, Any] = {
        "summary": summary if len(summary) <= SUMMARY else summary[: SUMMARY - 3] + "...",
        "source": source,
        "severity": _SEVERITIES[Level(alert.level)] if alert else _severity(message),
        "timestamp": datetime.fromtimestamp(message.at, UTC).isoformat(),
        "component": "portcullis",
    }
    if alert is not None:
        payload["class"] = plain(alert.rule)
    made |= {
        "payload": payload,
        "client": "Portcullis",
        "client_url": link(message),
    }
    said = dict(rows(message)) | {f"Approval {line}": where for line, where in each(message)}
    if more(message):
        said["More"] = more(message)
    whole = encode(made | {"payload": payload | {"custom_details": said}})
    return whole if len(whole) <= BODY else encode(made)


def _severity(message: Message) -> str:
    return "info" if message.subjects[0].stage == "test" else _CALL
