"""What the commands do about incidents: through a control plane, or on services of their own."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any
from urllib.parse import urlencode

from portcullis.cli.both_ways import Remotely, Run
from portcullis.control.incidents import PAGE, Incidents
from portcullis.control.incidents_api import IncidentRequest
from portcullis.control.incidents_views import (
    IncidentDetail,
    IncidentList,
    IncidentView,
    PlaybookList,
    PlaybookView,
    ReinstatedView,
)
from portcullis.core.call import Context
from portcullis.core.incident import Incident, Source, Subject, Verdict

_HOOK_SECONDS = 660.0
"""The longest that a hook may take, and some more."""
_DRAW_SECONDS = 300.0


class RemoteIncidents(Remotely):
    """Asks the control plane."""

    def list(self, *, unresolved: bool, subject: str, cursor: str) -> IncidentList:
        """A page of incidents, after ``cursor``."""
        state = "unresolved" if unresolved else "all"
        query = urlencode({"state": state, "subject": subject, "cursor": cursor})
        return IncidentList.model_validate(self._call("GET", f"/incidents?{query}"))

    def playbooks(self) -> PlaybookList:
        """The playbooks."""
        return PlaybookList.model_validate(self._call("GET", "/playbooks"))

    def show(self, incident: str) -> IncidentDetail:
        """One incident."""
        return IncidentDetail.model_validate(self._call("GET", f"/incidents/{incident}"))

    def open(self, wanted: IncidentRequest) -> IncidentView:
        """Open an incident."""
        body = wanted.model_dump(exclude_none=True)
        return IncidentView.model_validate(self._call("POST", "/incidents", body))

    def step(self, incident: str, step: str, reason: str) -> IncidentView:
        """Take a step other than the last."""
        return self._post(incident, f"steps/{step}", {"reason": reason}, _DRAW_SECONDS)

    def credential(self, incident: str, reference: str, how: str, reason: str) -> IncidentView:
        """Have a credential rotated, or say what was done by hand."""
        body = {"reference": reference, "how": how, "reason": reason}
        return self._post(incident, "credentials", body, _HOOK_SECONDS)

    def judge(self, incident: str, finding: str, verdict: Verdict, reason: str) -> IncidentView:
        """Say what a finding was."""
        body = {"finding": finding, "verdict": verdict, "reason": reason}
        return self._post(incident, "findings", body)

    def tick(self, incident: str, item: str, reason: str) -> IncidentView:
        """Say that an item of the checklist is done."""
        return self._post(incident, "checklist", {"item": item, "reason": reason})

    def note(self, incident: str, text: str) -> IncidentView:
        """Write something down."""
        return self._post(incident, "notes", {"text": text})

    def approve(self, incident: str, reason: str, proposal: str) -> IncidentView:
        """Approve a reinstatement, as it was shown."""
        return self._post(incident, "approve", {"reason": reason, "proposal": proposal})

    def reinstate(
        self, incident: str, reason: str, days: int | None, factor: float | None
    ) -> ReinstatedView:
        """Propose a reinstatement, or see to one that is approved."""
        body = {"reason": reason, "days": days, "factor": factor}
        return ReinstatedView.model_validate(
            self._call("POST", f"/incidents/{incident}/reinstate", body)
        )

    def close(self, incident: str, reason: str) -> IncidentView:
        """End it without letting anybody in."""
        return self._post(incident, "close", {"reason": reason})

    def stand_down(self, incident: str, reason: str) -> IncidentView:
        """End it as a false alarm."""
        return self._post(incident, "stand-down", {"reason": reason})

    def _post(
        self, incident: str, what: str, body: dict[str, Any], seconds: float = 30.0
    ) -> IncidentView:
        done = self._call("POST", f"/incidents/{incident}/{what}", body, seconds)
        return IncidentView.model_validate(done)


class DirectIncidents:
    """Does it itself, as ``context`` says who."""

    def __init__(self, incidents: Incidents, context: Context, run: Run) -> None:
        self._incidents = incidents
        self._context = context
        self._run = run

    def list(self, *, unresolved: bool, subject: str, cursor: str) -> IncidentList:
        """A page of incidents, after ``cursor``."""
        work = self._incidents.list(unresolved=unresolved, subject=subject, before=cursor)
        return IncidentList.of(self._run(work, "incident.list", ""), PAGE)

    def playbooks(self) -> PlaybookList:
        """The playbooks."""
        return PlaybookList(playbooks=[PlaybookView.of(one) for one in self._incidents.playbooks])

    def show(self, incident: str) -> IncidentDetail:
        """One incident."""
        found = self._run(self._incidents.show(incident), "incident.show", incident)
        work = IncidentDetail.to(found, self._incidents, self._context)
        return self._run(work, "incident.show", incident)

    def open(self, wanted: IncidentRequest) -> IncidentView:
        """Open an incident."""
        subject = Subject(agent=wanted.agent or "", session=wanted.session or "")
        work = self._incidents.open(
            self._context,
            subject,
            wanted.reason,
            playbook=wanted.playbook or "",
            source=Source(kind="alert", id=wanted.alert) if wanted.alert else Source(),
            since_days=wanted.since_days or 0,
            containing=wanted.containing,
        )
        return self._do(work, "open", subject.name)

    def step(self, incident: str, step: str, reason: str) -> IncidentView:
        """Take a step other than the last."""
        known = self._incidents
        take = {
            "contain": known.contain,
            "revoke": known.revoke,
            "rotate": known.rotate,
            "reaudit": known.reaudit,
        }[step]
        return self._do(take(self._context, incident, reason), step, incident)

    def credential(self, incident: str, reference: str, how: str, reason: str) -> IncidentView:
        """Have a credential rotated, or say what was done by hand."""
        settle = self._incidents.rotate_one if how == "rotate" else self._incidents.settle
        work = settle(self._context, incident, reference, reason)
        return self._do(work, "credential", incident)

    def judge(self, incident: str, finding: str, verdict: Verdict, reason: str) -> IncidentView:
        """Say what a finding was."""
        work = self._incidents.judge(self._context, incident, finding, verdict, reason)
        return self._do(work, "finding", incident)

    def tick(self, incident: str, item: str, reason: str) -> IncidentView:
        """Say that an item of the checklist is done."""
        work = self._incidents.tick(self._context, incident, item, reason)
        return self._do(work, "tick", incident)

    def note(self, incident: str, text: str) -> IncidentView:
        """Write something down."""
        return self._do(self._incidents.note(self._context, incident, text), "note", incident)

    def approve(self, incident: str, reason: str, proposal: str) -> IncidentView:
        """Approve a reinstatement, as it was shown."""
        work = self._incidents.approve(self._context, incident, reason, proposal)
        return self._do(work, "approve", incident)

    def reinstate(
        self, incident: str, reason: str, days: int | None, factor: float | None
    ) -> ReinstatedView:
        """Propose a reinstatement, or see to one that is approved."""
        work = self._incidents.reinstate(
            self._context, incident, reason, days=days or 0, factor=factor or 0.0
        )
        found, token = self._run(work, "incident.reinstate", incident)
        return ReinstatedView.of(found, token, self._incidents)

    def close(self, incident: str, reason: str) -> IncidentView:
        """End it without letting anybody in."""
        return self._do(self._incidents.close(self._context, incident, reason), "close", incident)

    def stand_down(self, incident: str, reason: str) -> IncidentView:
        """End it as a false alarm."""
        work = self._incidents.stand_down(self._context, incident, reason)
        return self._do(work, "stand_down", incident)

    def _do(self, work: Coroutine[Any, Any, Incident], verb: str, name: str) -> IncidentView:
        return IncidentView.shown(self._run(work, f"incident.{verb}", name), self._incidents)
