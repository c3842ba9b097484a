"""A notice as a mail: plain text and simple HTML, in one thread for all that is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape

from portcullis.core.notice import Message
from portcullis.oversight import notice_text
from portcullis.oversight.notice_text import each, headline, link, more, rows


def mail(message: Message, sender: str, to: Sequence[str], domain: str) -> EmailMessage:
    """The mail; ``domain`` stands in its ids, which are the same whenever it is sent again.

    The first is what the others refer to, and all have its subject, so that clients show a thread.
    """
    made = EmailMessage(policy=SMTP)
    made["From"], made["To"] = sender, ", ".join(to)
    made["Subject"] = _subject(message)
    made["Date"] = format_datetime(datetime.fromtimestamp(message.at, UTC))
    made["Message-ID"] = _id(message, message.turn, domain)
    if message.turn > 1:
        first = _id(message, 1, domain)
        made["In-Reply-To"] = made["References"] = first
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(_text(message))
    made.add_alternative(_html(message), subtype="html")
    return made


def _subject(message: Message) -> str:
    """The same for all of a thread: what it is about, not how it stands."""
    if message.alert is not None:
        group = notice_text.about(message.alert)
        about = f"{message.alert.level}: {notice_text.plain(message.alert.title)}"
        about += f" ({group})" if group else ""
    elif not message.action:
        about = f"agent {message.agent}" if message.agent else "test"
    else:
        agent, call, risk = (value for _, value in rows(message)[:3])
        about = f"{agent}: {call} ({risk})"
    return ("Re: " if message.turn > 1 else "") + f"[Portcullis] {about}"


def _where(message: Message) -> str:
    return "All that waits" if message.alert is None else "The console"


def _id(message: Message, turn: int, domain: str) -> str:
    return f"<{message.thread}.{turn}@{domain}>"


def _text(message: Message) -> str:
    lines = [headline(message), ""]
    lines += [f"{name}: {value}" for name, value in rows(message)]
    lines += [f"{line}\n  {where}" for line, where in each(message)]
    lines += [one for one in (more(message),) if one]
    return "\n".join([*lines, "", f"{_where(message)}: {link(message)}", ""])


def _html(message: Message) -> str:
    cells = "".join(
        f"<tr><th align='left'>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in rows(message)
    )
    items = "".join(
        f"<li><a href='{escape(where)}'>{escape(line)}</a></li>" for line, where in each(message)
    )
    left = f"<li>{escape(more(message))}</li>" if more(message) else ""
    return (
        f"<!doctype html><html lang='en'><body><h1>{escape(headline(message))}</h1>"
        f"<table>{cells}</table><ul>{items}{left}</ul>"
        f"<p><a href='{escape(link(message))}'>{_where(message)}</a></p></body></html>\n"
    )
