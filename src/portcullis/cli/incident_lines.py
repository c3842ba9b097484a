"""Incidents in lines for people; what does not show itself in an agent's text is spelt out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from portcullis.cli.approval_lines import rules
from portcullis.cli.audit_lines import clean
from portcullis.cli.principals import moment
from portcullis.control.incidents_views import (
    CredentialView,
    FindingView,
    IncidentDetail,
    IncidentRow,
    IncidentView,
    PlaybookView,
    StepView,
)


def row(one: IncidentRow) -> str:
    """An incident in a list."""
    due = f"due: {one.due}{' (begun)' if one.begun else ''}" if one.due else ""
    whom = f"{one.kind}:{one.session or one.agent}"
    return clean(
        f"{one.id}  {one.phase:10} {moment(one.opened_at)}  {whom}  {one.playbook}  {due}".rstrip()
    )


def lines(one: IncidentView) -> Iterator[str]:
    """All of an incident."""
    yield row(one)
    yield _named("opened", f"{moment(one.opened_at)} by {one.by} ({one.source}): {one.reason}")
    if one.kind == "session":
        yield _named("of agent", one.agent)
    until = moment(one.until) if one.until else "now"
    yield _named("history", f"{moment(one.since)} - {until}")
    for step in one.steps:
        yield from _step(step)
    for tick in one.ticked:
        yield _named("ticked", f"{tick.id}  {moment(tick.at)} by {tick.by}: {tick.reason}")
    for credential in one.credentials or ():
        yield _named("credential", _credential(credential))
    if one.digest:
        yield _named("findings", one.digest)
    for finding in one.findings or ():
        yield _named("finding", _finding(finding))
    yield from _asked(one)
    if isinstance(one, IncidentDetail):
        yield from (_named(name, said) for name, said in rules(one))
    for note in one.notes:
        yield _named("note", f"{moment(note.at)} by {note.by}: {note.text}")
    yield from due(one)


def due(one: IncidentView) -> Iterator[str]:
    """What is to be done next."""
    if one.due is None:
        return
    begun = ", which has begun and not ended" if one.begun else ""
    yield _named("due", f"{one.due}{begun}")
    if one.guidance:
        yield _named("guidance", one.guidance)
    for item in one.unticked:
        yield _named("to tick", f"{item.id}  {item.text}")
    for line in _left(one):
        yield _named("to do", line)


def playbook(one: PlaybookView) -> Iterator[str]:
    """A playbook."""
    probation = f"probation {one.days} days at {one.factor:g}"
    yield clean(f"{one.name:20} {one.title}  ({one.containing}; {probation})")


def _left(one: IncidentView) -> Iterator[str]:
    me = f"portcullis incident %s {one.id}"
    if one.due == "rotate" and one.credentials is not None:
        for credential in one.credentials:
            if not credential.settled:
                verb = "rotate" if credential.hook and not credential.fault else "settle"
                yield f"{me % verb} {credential.reference} --reason ..."
    elif one.due == "reaudit" and one.findings is not None:
        for finding in one.findings:
            if not finding.verdict:
                yield f"{me % 'judge'} {finding.id} benign|harm|unknown --reason ..."
    elif one.due == "reinstate" and one.asked is not None and not one.asked.approved_by:
        yield f"{me % 'approve'} --proposal {one.asked.binding} --reason ...  (somebody else)"
    elif one.due == "close":
        yield f"{me % 'close'} --reason ..."
    else:
        yield f"{me % 'step'} {one.due} --reason ..."


def _asked(one: IncidentView) -> Iterator[str]:
    asked = one.asked
    if asked is None:
        return
    said = f"by {asked.by}: {asked.reason} ({asked.days} days at {asked.factor:g} of each limit)"
    yield _named("proposed", f"{moment(asked.at)} {said}")
    if asked.approved_by:
        by = f"by {asked.approved_by}: {asked.approval_reason}"
        yield _named("approved", f"{moment(asked.approved_at)} {by}")
    if one.probation_until:
        yield _named("probation", f"until {moment(one.probation_until)}")


def _step(one: StepView) -> Iterator[str]:
    ended = moment(one.ended_at) if one.ended_at else "has not ended"
    yield _named(one.step, f"{moment(one.at)} - {ended} by {one.by}: {one.reason}")
    for name, value in one.facts.items():
        yield _named("", f"{name}: {_fact(value)}")


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _credential(one: CredentialView) -> str:
    if one.reason:
        state = f"by hand: {one.reason}"
    elif one.rotated and one.verified:
        state = "rotated, and verified"
    elif one.fault:
        state = f"NOT ROTATED: {one.fault} {one.detail}"
    else:
        state = "to be rotated" if one.hook else "to be seen to by hand"
    return f"{one.reference}  {state}  ({one.upstream}: {one.why})"


def _finding(one: FindingView) -> str:
    state = f"{one.verdict}: {one.reason}" if one.verdict else "TO BE JUDGED"
    place = f"{one.log}#{one.first}" + (f"..{one.last}" if one.last != one.first else "")
    return f"{one.id}  {one.kind}  {one.count}x  {one.text}  [{place}]  {state}"


def _named(name: str, value: str) -> str:
    return clean(f"{name:12} {value}".rstrip())
