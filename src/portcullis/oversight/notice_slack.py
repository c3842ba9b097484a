"""A notice as a Slack message: Block Kit, and its text for clients that show no blocks.

Limits (docs.slack.dev, Block Kit reference): 50 blocks, 10 fields of 2000 characters, 3000 in a
text, 150 in a header, 255 in an id. Names stand in ``plain_text``, in which nothing is parsed;
the fallback text has ``&``, ``<`` and ``>`` escaped besides.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from portcullis.core.call import RiskClass
from portcullis.core.notice import WAITING, Message
from portcullis.oversight.notice_text import each, headline, link, more, rows

BY_BUTTON: Final = frozenset({RiskClass.READ, RiskClass.MODIFY})
"""The risks that can be decided by a button; what deletes or leaves the house never is."""
_HEADER, _TEXT = 150, 2900
_NAMESPACE: Final = uuid.UUID("0e0a4e1b-63f4-5d0e-9a3e-6a3c0d9f7b21")


def post(message: Message, *, buttons: bool) -> dict[str, Any]:
    """The members that every way of posting has in common."""
    title = headline(message)
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(title, _HEADER)}]
    fields = [_plain(f"{name}: {value}") for name, value in rows(message)]
    if fields:
        blocks.append({"type": "section", "fields": fields})
    lines = [line for line, _ in each(message)] + [more(message)]
    said = "\n".join(filter(None, lines))
    if said:
        blocks.append({"type": "section", "text": _plain(said)})
    if buttons and by_button(message):
        blocks.append(_buttons(message))
    alone = len(message.subjects) == 1 and message.alert is None
    one = message.subjects[0] if alone else None
    where = link(message, one)
    shown = f"<{_escaped(where)}|Open the console>"
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": shown}]})
    return {
        "text": f"{_escaped(title)} {_escaped(where)}",
        "blocks": blocks,
        "mrkdwn": False,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def once(message: Message) -> str:
    """What lets Slack know a message that is posted again: a UUID, always the same for it."""
    return str(uuid.uuid5(_NAMESPACE, message.id))


def by_button(message: Message) -> bool:
    """Whether one call waits, of a risk that can be decided by a button."""
    alone = len(message.subjects) == 1 and message.subjects[0].stage in WAITING
    return alone and message.risk in BY_BUTTON


def _buttons(message: Message) -> dict[str, Any]:
    approval = message.subjects[0].id
    return {
        "type": "actions",
        "block_id": f"{approval}-{message.turn}",
        "elements": [
            {
                "type": "button",
                "action_id": verb,
                "value": approval,
                "style": style,
                "text": _plain(verb.capitalize()),
            }
            for verb, style in (("approve", "primary"), ("deny", "danger"))
        ],
    }


def _plain(text: str, most: int = _TEXT) -> dict[str, Any]:
    shown = text if len(text) <= most else text[: most - 3] + "..."
    return {"type": "plain_text", "text": shown, "emoji": False}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
