"""An incident's report as one tree of headings, lines and tables, and that as Markdown or HTML.

Every text that is not ours was chosen by agents, upstreams or operators: it is escaped for the
form that it stands in, and what is not printable is shown as its escape.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, Final, NamedTuple, TypeAlias

from portcullis.core.incident import Credential, Done, Incident, Judged
from portcullis.review.incident_radius import WAYS
from portcullis.review.incident_report import Facts

LONGEST: Final = 500
"""Characters of the longest text in a report."""
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 }
th, td { border: 1px solid #bbb; padding: .3rem .5rem; text-align: left; vertical-align: top;
  overflow-wrap: anywhere }
h2 { margin-top: 2rem; font-size: 1.15rem }
""".strip()
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>#|~&@$]|:(?=//|[A-Za-z+-][\w+-]*:)|^[+-](?= )|^=)")
"""What begins markup: a line's first sign, an address, the name of an emoji and so on."""
_LINKING: Final = re.compile(r"(?i)\b(www)\.")
_MOST_FACTS: Final = 20


class Heading(NamedTuple):
    """A section begins."""

    text: str


class Line(NamedTuple):
    """A paragraph."""

    text: str


class Grid(NamedTuple):
    """A table; there are as many cells in each row as in its head."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Part: TypeAlias = Heading | Line | Grid


def markdown(facts: Facts) -> str:
    """The report as Markdown (GFM)."""
    out = [f"# {in_markdown(_title(facts.incident))}", ""]
    for part in parts(facts):
        match part:
            case Heading(text):
                out += [f"## {in_markdown(text)}", ""]
            case Line(text):
                out += [in_markdown(text), ""]
            case Grid(head, rows):
                out += [_md_row(head), _md_row(["---"] * len(head), plain=True)]
                out += [_md_row(row) for row in rows]
                out.append("")
    return "\n".join(out)


def html(facts: Facts) -> str:
    """The report as one HTML file that loads nothing and runs nothing."""
    style = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'"
    title = in_html(_title(facts.incident))
    out = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>",
    ]
    for part in parts(facts):
        match part:
            case Heading(text):
                out.append(f"<h2>{in_html(text)}</h2>")
            case Line(text):
                out.append(f"<p>{in_html(text)}</p>")
            case Grid(head, rows):
                cells = "".join(f"<th>{in_html(one)}</th>" for one in head)
                out.append(f"<table><tr>{cells}</tr>")
                for row in rows:
                    cells = "".join(f"<td>{in_html(one)}</td>" for one in row)
                    out.append(f"<tr>{cells}</tr>")
                out.append("</table>")
    return "\n".join([*out, "</body></html>\n"])


def in_markdown(text: str) -> str:
    """A text that no Markdown reader takes for markup, a link or HTML."""
    return _LINKING.sub(r"\1\\.", _MARKUP.sub(r"\\\1", _shown(text)))


def in_html(text: str) -> str:
    """A text as it may stand in HTML, also within an attribute's quotes."""
    return escape(_shown(text), quote=True)


def _shown(text: str) -> str:
    cut = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}\u2026"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


def _md_row(cells: Sequence[str], *, plain: bool = False) -> str:
    return f"| {' | '.join(one if plain else in_markdown(one) or '-' for one in cells)} |"


def parts(facts: Facts) -> Iterator[Part]:
    """What the report says, in order."""
    one = facts.incident
    yield Grid(("", ""), tuple(_head(facts)))
    yield Heading("What was done")
    if not one.steps:
        yield Line("Nothing yet.")
    else:
        yield Grid(
            ("step", "begun", "ended", "by", "reason", "what came of it"), tuple(_steps(one.steps))
        )
    yield from _second_person(one)
    yield Heading("Credentials that it had access to")
    yield from _credentials(one.credentials)
    yield Heading("Findings")
    yield from _findings(one.findings, one.digest)
    yield Heading("How far it went")
    yield from _radius(facts)
    yield Heading("What happened")
    yield from _timeline(facts)
    yield Heading("Checklist and notes")
    yield from _written(one)
    yield Heading("Logs")
    yield Line("Each event is named by its log and its number there; these are the logs' keys.")
    yield Grid(("log", "public key"), tuple(sorted(facts.logs.items())))


def _title(one: Incident) -> str:
    return f"Incident {one.id}: {one.subject.name}"


def _head(facts: Facts) -> Iterator[tuple[str, str]]:
    one = facts.incident
    yield "subject", one.subject.name
    yield "agent", one.subject.agent
    yield "phase", f"{one.phase}, {one.due} is due" if one.due and not one.over else str(one.phase)
    yield "opened", f"{_time(one.opened_at)} by {one.by}: {one.reason}"
    yield "by way of", " ".join(filter(None, (one.source.kind, one.source.id)))
    yield "playbook", one.playbook
    yield "contained by", str(one.containing)
    yield "history looked at", f"{_time(one.since)} to {_time(one.until) or 'now'}"
    if one.probation_until:
        yield "on probation until", _time(one.probation_until)
    yield "report made", f"{_time(facts.made)} by Portcullis {facts.version}"


def _steps(steps: Iterable[Done]) -> Iterator[tuple[str, ...]]:
    for one in steps:
        ended = _time(one.ended_at) or "not yet"
        yield one.step.value, _time(one.at), ended, one.by, one.reason, _told(one.facts)


def _told(facts: dict[str, Any]) -> str:
    """Facts of a step, which are names and figures."""
    said = [f"{name}: {_value(value)}" for name, value in list(facts.items())[:_MOST_FACTS]]
    return "; ".join(said)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        more = f" and {len(value) - _MOST_FACTS} more" if len(value) > _MOST_FACTS else ""
        return ", ".join(map(_value, value[:_MOST_FACTS])) + more
    if isinstance(value, dict):
        return f"({_told(value)})"
    return str(value)


def _second_person(one: Incident) -> Iterator[Part]:
    asked = one.asked
    if asked is None:
        return
    said = f"Reinstatement proposed {_time(asked.at)} by {asked.by}: {asked.reason}"
    yield Line(f"{said} ({asked.days} days of probation, {asked.factor:g} of each limit)")
    if asked.approved_by:
        approved = f"Approved {_time(asked.approved_at)} by {asked.approved_by}"
        yield Line(f"{approved}: {asked.approval_reason}")
    else:
        yield Line("Nobody has approved it.")


def _credentials(found: tuple[Credential, ...] | None) -> Iterator[Part]:
    if found is None:
        yield Line("Not looked for yet.")
    elif not found:
        yield Line("None.")
    else:
        head = ("reference", "opens", "how it could be reached", "last used", "what became of it")
        yield Grid(head, tuple(_credential(one) for one in found))


def _credential(one: Credential) -> tuple[str, ...]:
    access, done = one.access, one.rotated
    if done is not None and done.rotated and done.verified:
        said = f"rotated and seen to be another, {_time(one.at)} by {one.by}"
    elif one.reason:
        said = f"by hand, {_time(one.at)} by {one.by}: {one.reason}"
    elif done is not None:
        said = f"NOT ROTATED: {done.fault} {done.detail}"
    else:
        said = "nothing yet"
    used = _time(access.used) or "not known of"
    return access.reference, access.upstream, access.why, used, said


def _findings(found: tuple[Judged, ...] | None, digest: str) -> Iterator[Part]:
    if found is None:
        yield Line("Not drawn yet.")
        return
    yield Line(f"{len(found)} groups, drawn once: {digest}")
    if found:
        head = ("kind", "what", "first and last event", "judgement", "by", "reason")
        yield Grid(head, tuple(_finding(one) for one in found))


def _finding(one: Judged) -> tuple[str, ...]:
    found = one.finding
    where = f"{found.log} {found.first} {_time(found.first_at)}"
    if found.last != found.first:
        where += f" to {found.last} {_time(found.last_at)}"
    by = f"{one.by} {_time(one.at)}".strip()
    return found.kind, found.text, where, one.verdict or "none yet", by, one.reason


def _radius(facts: Facts) -> Iterator[Part]:
    radius = facts.radius
    if radius.written:
        rows = tuple(
            (one.tool, str(one.count), _time(one.first_at), _time(one.last_at), one.shared)
            for one in radius.written
        )
        yield Grid(("changed through", "times", "first", "last", "shared as"), rows)
    if radius.reached:
        yield Grid(
            ("agent", "how", "it read", "what was written with", "times", "events"),
            tuple(
                (
                    one.agent,
                    WAYS[one.how],
                    one.read,
                    one.wrote,
                    str(one.count),
                    f"{one.log} {one.first} to {one.last}",
                )
                for one in radius.reached
            ),
        )
    else:
        yield Line("No other agent is known to have come by what it wrote.")
    if radius.beyond:
        yield Line(f"{radius.beyond} further rows are not shown.")
    for one in radius.limits:
        yield Line(one)


def _timeline(facts: Facts) -> Iterator[Part]:
    more = "" if facts.whole else ", and there are older ones"
    yield Line(f"{facts.counted} events{more}:")
    yield Grid(("kind", "events"), tuple((kind, str(n)) for kind, n in facts.counts.items()))
    yield Line(f"The last {len(facts.rows)} that are not mere reading:")
    if facts.rows:
        yield Grid(
            ("time", "kind", "event", "what"),
            tuple(
                (_time(row.at), row.kind, f"{row.log} {row.index}", row.text) for row in facts.rows
            ),
        )


def _written(one: Incident) -> Iterator[Part]:
    if one.ticked:
        rows = tuple((x.id, _time(x.at), x.by, x.reason) for x in one.ticked)
        yield Grid(("item", "done", "by", "reason"), rows)
    if one.notes:
        yield Grid(("noted", "by", "note"), tuple((_time(x.at), x.by, x.text) for x in one.notes))
    if not one.ticked and not one.notes:
        yield Line("None.")


def _time(at: float) -> str:
    """A time; empty for never."""
    if not at:
        return ""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
