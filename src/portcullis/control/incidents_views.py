"""Incidents as the API and the commands show them. Times are seconds since the epoch, 0: never."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from portcullis.control.approvers_views import RuledView
from portcullis.control.entries import JoinToken
from portcullis.control.incidents import Incidents
from portcullis.control.incidents_approving import binding_of
from portcullis.control.shapes import Shape
from portcullis.core.call import Context
from portcullis.core.incident import (
    ORDER,
    Asked,
    Credential,
    Done,
    Incident,
    Judged,
    Note,
    Playbook,
    Step,
    Ticked,
)

PhaseName = Literal[
    "open", "contained", "revoked", "rotated", "audited", "reinstated", "closed", "stood_down"
]
StepName = Literal["contain", "revoke", "rotate", "reaudit", "reinstate", "close", "stand_down"]
ContainingName = Literal["kill", "quarantine"]
VerdictName = Literal["benign", "harm", "unknown"]


_NAMES: Final[dict[Step, StepName]] = {
    Step.CONTAIN: "contain",
    Step.REVOKE: "revoke",
    Step.ROTATE: "rotate",
    Step.REAUDIT: "reaudit",
    Step.REINSTATE: "reinstate",
}


class StepView(Shape):
    """A step that was begun; ``ended_at`` is 0 until all of it has acted.

    ``facts`` are what came of it, in names and figures.
    """

    step: StepName
    at: float
    by: str
    reason: str
    ended_at: float
    facts: dict[str, Any]

    @classmethod
    def of(cls, one: Done) -> StepView:
        """The view of a step."""
        return cls.model_validate(msgspec.to_builtins(one))


class NoteView(Shape):
    """What somebody wrote down."""

    at: float
    by: str
    text: str

    @classmethod
    def of(cls, one: Note) -> NoteView:
        """The view of a note."""
        return cls.model_validate(msgspec.to_builtins(one))


class TickView(Shape):
    """An item of the playbook's checklist that is done."""

    id: str
    at: float
    by: str
    reason: str

    @classmethod
    def of(cls, one: Ticked) -> TickView:
        """The view of a tick."""
        return cls.model_validate(msgspec.to_builtins(one))


class CredentialView(Shape):
    """A credential that it had access to: never its value.

    ``hook`` says whether its source can be told to rotate it. ``rotated`` and ``verified`` are of
    the last time that it was, ``fault`` is the code of what went wrong then; ``reason`` is what
    somebody said that was done by hand. ``settled`` means that nothing is left to do.
    """

    reference: str
    source: str
    upstream: str
    why: str
    used: float
    hook: bool
    rotated: bool
    verified: bool
    fault: str
    detail: str
    by: str
    reason: str
    at: float
    settled: bool

    @classmethod
    def of(cls, one: Credential) -> CredentialView:
        """The view of a credential."""
        done = one.rotated
        return cls(
            **msgspec.structs.asdict(one.access),
            rotated=done is not None and done.rotated,
            verified=done is not None and done.verified,
            fault=done.fault if done is not None else "",
            detail=done.detail if done is not None else "",
            by=one.by,
            reason=one.reason,
            at=one.at,
            settled=one.settled,
        )


class FindingView(Shape):
    """A finding of the re-audit, ``count`` events of ``log``, and what somebody said it was."""

    id: str
    kind: str
    log: str
    first: int
    last: int
    first_at: float
    last_at: float
    text: str
    name: str
    code: str
    count: int
    verdict: VerdictName | Literal[""]
    by: str
    reason: str
    at: float

    @classmethod
    def of(cls, one: Judged) -> FindingView:
        """The view of a finding."""
        return cls(
            **msgspec.structs.asdict(one.finding),
            verdict=one.verdict,
            by=one.by,
            reason=one.reason,
            at=one.at,
        )


class AskedView(Shape):
    """A reinstatement that was proposed: for ``days``, the agent has ``factor`` of each limit.

    Whoever approves it says its ``binding``, so that it is this one and no other.
    """

    binding: str
    at: float
    by: str
    reason: str
    days: int
    factor: float
    approved_by: str
    approved_at: float
    approval_reason: str

    @classmethod
    def of(cls, one: Asked) -> AskedView:
        """The view of a proposal."""
        return cls.model_validate(msgspec.to_builtins(one) | {"binding": binding_of(one)})


class ItemView(Shape):
    """Something on a playbook's checklist."""

    id: str
    text: str


class PlaybookStepView(Shape):
    """What a playbook says of a step."""

    step: StepName
    guidance: str
    checklist: list[ItemView]


class PlaybookView(Shape):
    """A playbook: what to think of at each of the five steps."""

    name: str
    title: str
    containing: ContainingName
    days: int
    factor: float
    steps: list[PlaybookStepView]

    @classmethod
    def of(cls, one: Playbook) -> PlaybookView:
        """The view of a playbook."""
        return cls(
            name=one.name,
            title=one.title,
            containing=one.containing,
            days=one.days,
            factor=one.factor,
            steps=[
                PlaybookStepView(
                    step=_NAMES[step],
                    guidance=one.step(step).guidance,
                    checklist=[
                        ItemView(id=item, text=text)
                        for item, text in one.step(step).checklist.items()
                    ],
                )
                for step in ORDER
            ],
        )


class PlaybookList(Shape):
    """The playbooks, by name."""

    playbooks: list[PlaybookView]


class IncidentRow(Shape):
    """An incident in a list. ``due`` is the step that is due, null after the end."""

    id: str
    kind: Literal["agent", "session"]
    agent: str
    session: str
    playbook: str
    phase: PhaseName
    due: StepName | None
    begun: bool
    opened_at: float
    by: str
    reason: str
    source: Literal["hand", "kill", "alert"]
    source_id: str

    @classmethod
    def of(cls, one: Incident) -> IncidentRow:
        """The row of an incident."""
        return cls(**row(one))


class IncidentList(Shape):
    """Incidents, the newest first; ``following`` is the next page's cursor, empty at the end."""

    incidents: list[IncidentRow]
    following: str

    @classmethod
    def of(cls, found: tuple[Incident, ...], limit: int) -> IncidentList:
        """The view of a page."""
        following = found[-1].id if len(found) == limit else ""
        return cls(incidents=[IncidentRow.of(one) for one in found], following=following)


class IncidentView(IncidentRow):
    """An incident as it stands. ``guidance`` is the playbook's about the step that is due.

    ``unticked`` has to be ticked before that step is taken. ``credentials`` are listed from
    ``rotate`` on, ``findings`` from ``reaudit`` on; null before. History is looked at from
    ``since`` to ``until``. ``made``: the incident itself contained it.
    """

    since: float
    until: float
    containing: ContainingName
    made: bool
    guidance: str
    unticked: list[ItemView]
    steps: list[StepView]
    ticked: list[TickView]
    notes: list[NoteView]
    credentials: list[CredentialView] | None
    findings: list[FindingView] | None
    digest: str
    asked: AskedView | None
    probation_until: float

    @classmethod
    def shown(cls, one: Incident, incidents: Incidents) -> IncidentView:
        """The view of an incident, with what its playbook says."""
        due = one.due
        playbook = incidents.playbook_of(one)
        unticked = incidents.unticked(one, due) if due is not None else {}
        return cls(
            **row(one),
            since=one.since,
            until=one.until,
            containing=one.containing,
            made=one.made,
            guidance=playbook.step(due).guidance if due is not None else "",
            unticked=[ItemView(id=item, text=text) for item, text in unticked.items()],
            steps=[StepView.of(step) for step in one.steps],
            ticked=[TickView.of(tick) for tick in one.ticked],
            notes=[NoteView.of(note) for note in one.notes],
            credentials=_listed(one.credentials, CredentialView.of),
            findings=_listed(one.findings, FindingView.of),
            digest=one.digest,
            asked=AskedView.of(one.asked) if one.asked is not None else None,
            probation_until=one.probation_until,
        )


class IncidentDetail(IncidentView):
    """An incident, and who may approve that its agent works again.

    Each of ``rules`` has to let whoever approves it; where there is none, every approver may.
    ``hindrance`` is why you may not approve what is proposed, empty where you may.
    """

    rules: list[RuledView]
    hindrance: str

    @classmethod
    async def to(cls, one: Incident, incidents: Incidents, context: Context) -> IncidentDetail:
        """The view of an incident for whoever asks."""
        view = IncidentView.shown(one, incidents)
        rules = [RuledView.of(found) for found in await incidents.rules(context, one)]
        why = await incidents.hindrance(context, one)
        said = {name: getattr(view, name) for name in IncidentView.model_fields}
        return cls(**said, rules=rules, hindrance="" if why is None else why.detail)


class ReinstatedView(Shape):
    """The incident, and the join token of the new identity: once, and not before it is approved."""

    incident: IncidentView
    join_token: str
    expires_at: float

    @classmethod
    def of(cls, one: Incident, token: JoinToken | None, incidents: Incidents) -> ReinstatedView:
        """The view of what came of it."""
        return cls(
            incident=IncidentView.shown(one, incidents),
            join_token=token.token if token is not None else "",
            expires_at=token.expires_at if token is not None else 0.0,
        )


def row(one: Incident) -> dict[str, Any]:
    """What a list shows of an incident."""
    due = one.due
    begun = due is not None and one.step(due) is not None
    return {
        "id": one.id,
        "kind": one.subject.kind,
        "agent": one.subject.agent,
        "session": one.subject.session,
        "playbook": one.playbook,
        "phase": one.phase.value,
        "due": due.value if due is not None else None,
        "begun": begun,
        "opened_at": one.opened_at,
        "by": one.by,
        "reason": one.reason,
        "source": one.source.kind,
        "source_id": one.source.id,
    }


def _listed(some: Any, view: Any) -> Any:
    return None if some is None else [view(one) for one in some]
