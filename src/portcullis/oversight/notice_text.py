"""The words of a notice, for every channel. Names that an agent may have chosen are made harmless.

Nothing here is content: an approval's own names, the risk, and fields and rules that hold it.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from typing import Final

from portcullis.core.notice import WAITING, About, Happening, Message, Subject

_LONGEST: Final = 200
_SHOWN: Final = 10
"""Most approvals that are named one by one."""
_LIVELY: Final = re.compile(r"@|://|[<>*~`|\[\]]")
"""What a client may make a mention, a link or a form of."""
_HARMLESS: Final = {"@": "(at)", "://": ": //", "<": "(", ">": ")", "[": "(", "]": ")"}


def plain(name: str) -> str:
    """A name that does nothing where it is shown: no mention, no link, no form, no direction.

    What does not show itself is spelt out; of what is long, the beginning is shown.
    """
    shown = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in name)
    shown = _LIVELY.sub(lambda found: _HARMLESS.get(found[0], " "), shown)
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 3] + "..."


def about(alert: About) -> str:
    """Whom or what an alert is about."""
    return ", ".join(f"{name} {plain(value)}" for name, value in alert.group)


def what(message: Message) -> str:
    """What is called."""
    called = f"{message.server}.{message.name}" if message.server else message.name
    return plain(called)


def headline(message: Message) -> str:
    """One line: how things stand."""
    if message.alert is not None:
        return _alarm(message.alert, message.subjects[0])
    agent = plain(message.agent)
    stages = Counter(one.stage for one in message.subjects)
    if "frozen" in stages:
        return f"Agent {agent} may not ask any more: too much was denied"
    if "lifted" in stages:
        return f"Agent {agent} may ask again"
    if "test" in stages:
        return "This is a test: the channel works"
    call = f"{agent}, {what(message)} ({plain(message.risk)})"
    waits = sum(stages[one] for one in WAITING)
    ended = ", ".join(f"{count} {stage}" for stage, count in stages.items() if stage not in WAITING)
    if not waits:
        said = ended if len(message.subjects) > 1 else ended.partition(" ")[2].capitalize()
        return f"{said}: {call}"
    said = "A call waits for approval" if waits == 1 else f"{waits} calls wait for approval"
    if stages[Happening.ESCALATED]:
        said = f"Escalated: {said[0].lower()}{said[1:]}"
    elif stages[Happening.REMINDED]:
        said = f"Still waiting: {said[0].lower()}{said[1:]}"
    return f"{said}: {call}" + (f"; {ended}" if ended else "")


def rows(message: Message) -> list[tuple[str, str]]:
    """The names and their meanings, in the order in which they matter."""
    if message.alert is not None:
        return _facts(message.alert, message.subjects[0])
    if not message.action:
        return [("Agent", plain(message.agent))] if message.agent else []
    found = [
        ("Agent", plain(message.agent)),
        ("Call", f"{plain(message.action)} {what(message)}"),
        ("Risk", plain(message.risk)),
    ]
    if message.why:
        found.append(("Held because", plain(message.why)))
    return found


def each(message: Message) -> list[tuple[str, str]]:
    """A line and the link for each approval, the first ten of them."""
    if message.alert is not None:
        return []
    named = [one for one in message.subjects if one.id]
    return [(_line(one), link(message, one)) for one in named[:_SHOWN]]


def more(message: Message) -> str:
    """What is not named one by one, or nothing."""
    left = len(message.subjects) - _SHOWN
    return f"and {left} more" if left > 0 else ""


def link(message: Message, subject: Subject | None = None) -> str:
    """Where the console shows an approval, or all that wait; of an alert, the console."""
    if message.alert is not None:
        return f"{message.origin}/"
    return f"{message.origin}/approvals" + (f"/{subject.id}" if subject and subject.id else "")


def moment(at: float) -> str:
    """A time as people read it, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _line(subject: Subject) -> str:
    said = f"{subject.id}: {subject.stage}"
    if subject.stage in WAITING:
        return f"{said}, until {moment(subject.expires_at)}"
    by = f" by {plain(subject.by)}" if subject.by else ""
    return said + by + (f", {plain(subject.reason)}" if subject.reason else "")


def _alarm(alert: About, subject: Subject) -> str:
    said = f"{alert.level.capitalize()}: {plain(alert.title)}"
    group = about(alert)
    if group:
        said += f" ({group})"
    if subject.stage == "escalated":
        return f"Nobody took it on: {said}"
    return said if subject.stage == "open" else f"{subject.stage.capitalize()}: {said}"


def _facts(alert: About, subject: Subject) -> list[tuple[str, str]]:
    times = f"{subject.count} events, the first {moment(alert.at)}"
    found = [
        ("Rule", f"{plain(alert.rule)} ({alert.level})"),
        ("About", about(alert) or "the deployment"),
        ("Seen", times if subject.count > 1 else moment(alert.at)),
        ("What to do", plain(alert.advice)),
        ("Playbook", plain(alert.playbook)),
        ("By", plain(subject.by)),
        ("Reason", plain(subject.reason)),
        ("More", f"portcullis alert show {subject.id}"),
    ]
    return [(name, value) for name, value in found if value]
