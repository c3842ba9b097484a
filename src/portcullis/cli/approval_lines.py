"""How a call that waits is written for people: a row of a list, and all of it.

All of it is the agent's own text: every character that does not show itself is spelt out.
"""

from __future__ import annotations

import json as codec
from typing import TYPE_CHECKING, Any

from portcullis.cli.audit_lines import clean
from portcullis.cli.audit_lines import second as moment

if TYPE_CHECKING:
    from portcullis.control.approvals_api import ApprovalDetail, ApprovalView, ShownView
    from portcullis.control.incidents_views import IncidentDetail
    from portcullis.control.releases_api import ReleaseDetail


def tool_of(one: ApprovalView) -> str:
    """What would be called, with its server."""
    return f"{one.server}.{one.name}" if one.server else one.name


def row(one: ApprovalView) -> str:
    """One approval in one line."""
    said = (
        f"{one.id}  {one.state:9} {one.risk:8} {one.agent}  {tool_of(one)}"
        f"  until {moment(one.expires_at)}"
    )
    if one.endorsed_by:
        said += f"  first {one.endorsed_by}: {one.endorsed_reason}"
    if one.decided_by:
        said += f"  {one.decided_by}: {one.reason}"
    return clean(said + ("  ESCALATED" if one.escalated_at else ""))


def lines(call: ShownView) -> list[tuple[str, str]]:
    """What the approver reads, in the order in which it matters: names and values."""
    rows: list[tuple[str, Any]] = [("held because", call.reason)]
    rows += [("question", question) for question in call.questions]
    rows += [("label", f"{clean(name)}: {label}") for name, label in call.labels.items()]
    rows += [("calls", f"{call.method} {call.called}")]
    if call.arguments:
        rows += [(f"  {clean(name)}", codec.dumps(value)) for name, value in call.arguments.items()]
    more = call.request
    if call.arguments and isinstance(more, dict):
        more = {name: said for name, said in more.items() if name not in {"name", "arguments"}}
    if more:
        rows += [("  request", codec.dumps(more))]
    rows += [
        ("agent", " for ".join(call.agents)),
        ("user", call.user),
        *(("said", prompt) for prompt in call.prompts),
        ("subject", codec.dumps(call.subject)),
        ("grant", "any tool" if call.grant is None else ", ".join(call.grant)),
    ]
    rows += [("  bounds", codec.dumps(bounds)) for bounds in call.bounds.values()]
    rows += [
        ("before", f"{moment(step.at)} {step.what} ({step.risk or '?'}): {step.verdict}")
        for step in call.recent
    ]
    return [(name, clean(value)) for name, value in rows]


def rules(detail: ApprovalDetail | IncidentDetail | ReleaseDetail) -> list[tuple[str, str]]:
    """Who may approve it, where rules say so, and whether whoever asks may."""
    found = []
    for one in detail.rules:
        who = [*one.operators, *(f"the team {team}" for team in one.teams)]
        said = f"by the rule {one.rule}: {', '.join(who) or 'nobody'}"
        found.append(("may approve", clean(said + ("" if one.you else "; not you"))))
    if detail.hindrance and all(one.you for one in detail.rules):
        found.append(("you may not", clean(detail.hindrance)))
    return found
