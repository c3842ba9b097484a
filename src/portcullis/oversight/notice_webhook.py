"""A notice as the body of a webhook: ``type``, ``timestamp`` and ``data`` (Standard Webhooks)."""

from __future__ import annotations

from datetime import UTC, datetime

from portcullis.core.notice import About, Message
from portcullis.oversight.notices import waiting
from portcullis.wire.json import encode


def body(message: Message) -> bytes:
    """The JSON document. Names stand as they are: it is a program that reads them."""
    if message.alert is not None:
        return _alert(message, message.alert)
    return encode(
        {
            "type": _type(message),
            "timestamp": datetime.fromtimestamp(message.at, UTC).isoformat(),
            "data": {
                "notice": message.thread,
                "turn": message.turn,
                "agent": message.agent,
                "action": message.action,
                "server": message.server,
                "name": message.name,
                "risk": message.risk,
                "why": message.why,
                "waiting": waiting(message.subjects),
                "console": f"{message.origin}/approvals",
                "approvals": [
                    {
                        "id": one.id,
                        "state": one.stage,
                        "expires_at": one.expires_at,
                        "by": one.by,
                        "reason": one.reason,
                        "url": f"{message.origin}/approvals/{one.id}",
                    }
                    for one in message.subjects
                    if one.id
                ],
            },
        }
    )


def _type(message: Message) -> str:
    if message.action:
        return "approval.waiting" if waiting(message.subjects) else "approval.settled"
    return f"agent.{message.subjects[0].stage}" if message.agent else "test"


def _alert(message: Message, alert: About) -> bytes:
    one = message.subjects[0]
    return encode(
        {
            "type": f"alert.{one.stage}",
            "timestamp": datetime.fromtimestamp(message.at, UTC).isoformat(),
            "data": {
                "notice": message.thread,
                "turn": message.turn,
                "alert": one.id,
                "rule": alert.rule,
                "title": alert.title,
                "level": alert.level,
                "group": dict(alert.group),
                "first_at": alert.at,
                "count": one.count,
                "by": one.by,
                "reason": one.reason,
                "advice": alert.advice,
                "playbook": alert.playbook,
                "console": f"{message.origin}/",
            },
        }
    )
