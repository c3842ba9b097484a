"""The readable report: one HTML file that loads nothing and runs nothing.

Whatever an event says was chosen by agents and upstreams, and the log's files by whoever holds
them: every text is escaped, and what is not printable is shown as its escape.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from typing import Final

from portcullis.review.evaluate import Assessment, Open, RowState, Seen, State
from portcullis.review.facts import Mark
from portcullis.review.oscal import proof_path, said_of

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { border: 1px solid #bbb; padding: .4rem .6rem; text-align: left; vertical-align: top }
h2 { margin-top: 2rem; font-size: 1.1rem }
code { font-size: .9em; overflow-wrap: anywhere }
.gap { background: #fdecea } .evidenced { background: #eaf5ea } .not { background: #f2f2f2 }
""".strip()
_CLASSES: Final = {State.GAP: "gap", State.EVIDENCED: "evidenced", State.NOT_EVALUATED: "not"}
_SAYS: Final = (
    "This report shows which records and settings are evidence for a control, and where evidence "
    "is missing. It does not say that any requirement is complied with."
)


def report(assessment: Assessment, verified: int) -> str:
    """The report as a document; ``verified`` is how many of the logs' entries were verified."""
    style = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'"
    title = f"Evidence: {assessment.title}"
    period = (
        f"{_time(assessment.since) if assessment.since else 'the beginning of the logs'} to "
        f"{_time(assessment.until or assessment.at)}"
    )
    counts = ", ".join(f"{assessment.count(state)} {state}" for state in State)
    return "\n".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{text(policy)}">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{text(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{text(title)}</h1><p>{text(_SAYS)}</p>",
            f"<p>Log entries: {text(said_of(assessment))}; {verified} verified. ",
            f"Period: {text(period)}. Evaluated {_time(assessment.at)}.</p>",
            f"<p>Controls: {text(counts)}.</p>",
            *(
                [f"<p>Not all is known: {text(assessment.partial)}.</p>"]
                if assessment.partial
                else ()
            ),
            "<table><tr><th>control</th><th>what evidence can show</th><th>state</th></tr>",
            *(_summary(number, row) for number, row in enumerate(assessment.rows)),
            "</table>",
            *(_row(number, row) for number, row in enumerate(assessment.rows)),
            "</body></html>\n",
        )
    )


def text(value: str) -> str:
    """A text as it may stand in the document, also within an attribute's quotes."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in value)
    return escape(shown, quote=True)


def _summary(number: int, row: RowState) -> str:
    return (
        f'<tr class="{_CLASSES[row.state]}"><td><a href="#row-{number}">{text(row.control)}</a>'
        f"</td><td>{text(row.title)}</td><td>{text(row.state)}</td></tr>"
    )


def _row(number: int, row: RowState) -> str:
    said = f"{row.state}: {row.reason}" if row.reason else str(row.state)
    parts = [
        f'<h2 id="row-{number}">{text(row.control)}: {text(row.title)}</h2>',
        f'<p class="{_CLASSES[row.state]}">{text(said)}</p>',
    ]
    if row.gaps:
        parts.append(f"<ul>{''.join(_gap(gap) for gap in row.gaps)}</ul>")
    if row.evidence:
        head = "<tr><th>evidence</th><th>events</th><th>first</th><th>last</th></tr>"
        parts.append(f"<table>{head}{''.join(_seen(seen) for seen in row.evidence)}</table>")
    parts += [f"<p>Setting {text(name)}: {text(value)}</p>" for name, value in row.settings.items()]
    if row.controls:
        parts.append(f"<p>Acting controls: {text(', '.join(row.controls))}</p>")
    return "\n".join(parts)


def _gap(gap: Open) -> str:
    since = f", since {_time(gap.since)}" if gap.since is not None else ""
    return f"<li><b>{text(gap.condition)}</b>{since}: {text(gap.reason)}{_events(gap.marks)}</li>"


def _events(marks: Iterable[Mark]) -> str:
    shown = "".join(f"<li>{_event(mark)}</li>" for mark in marks)
    return f"<ul>{shown}</ul>" if shown else ""


def _seen(seen: Seen) -> str:
    cells = "".join(
        f"<td>{_event(mark) if mark is not None else '-'}</td>" for mark in (seen.first, seen.last)
    )
    return f"<tr><td>{text(seen.about)}</td><td>{seen.count}</td>{cells}</tr>"


def _event(mark: Mark) -> str:
    who = " ".join(filter(None, (mark.who, mark.what)))
    number = f"{text(mark.log)} {mark.index}"
    return (
        f'<a href="{text(proof_path(mark))}">{number}</a> {_time(mark.time)} {text(who)} '
        f"<code>{text(mark.id)}</code>"
    )


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
