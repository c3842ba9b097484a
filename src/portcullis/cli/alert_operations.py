"""What the commands do about alerts: through a control plane, or on services of their own."""

from __future__ import annotations

from urllib.parse import urlencode

from portcullis.cli.both_ways import Remotely, Run
from portcullis.control.alerts import PAGE, SETTLED, Alerting
from portcullis.control.alerts_api import AlertList, AlertView, SilenceList, SilenceView
from portcullis.core.alert import UNRESOLVED, Verb, Wanted
from portcullis.core.call import Context


class RemoteAlerts(Remotely):
    """Asks the control plane."""

    def list(self, wanted: Wanted, cursor: str) -> AlertList:
        """A page of alerts, after ``cursor``."""
        query = {"rule": wanted.rule, "cursor": cursor}
        if wanted.states == UNRESOLVED:
            query["state"] = "unresolved"
        elif len(wanted.states) == 1:
            query["state"] = wanted.states[0].value
        if wanted.level is not None:
            query["level"] = wanted.level.value
        return AlertList.model_validate(self._call("GET", f"/alerts?{urlencode(query)}"))

    def show(self, alert: str) -> AlertView:
        """One alert."""
        return AlertView.model_validate(self._call("GET", f"/alerts/{alert}"))

    def settle(self, alert: str, verb: Verb, reason: str) -> AlertView:
        """Acknowledge or resolve an alert."""
        done = self._call("POST", f"/alerts/{alert}/{verb}", {"reason": reason})
        return AlertView.model_validate(done)

    def silences(self) -> SilenceList:
        """The silences in force."""
        return SilenceList.model_validate(self._call("GET", "/silences"))

    def silence(
        self, rule: str, matching: dict[str, str], seconds: int, reason: str
    ) -> SilenceView:
        """Make a silence."""
        body = {"rule": rule, "matching": matching, "seconds": seconds, "reason": reason}
        return SilenceView.model_validate(self._call("POST", "/silences", body))

    def unsilence(self, silence: str, reason: str) -> None:
        """End a silence."""
        self._call("POST", f"/silences/{silence}/end", {"reason": reason})


class DirectAlerts:
    """Does it itself, as ``context`` says who."""

    def __init__(self, alerting: Alerting, context: Context, run: Run) -> None:
        self._alerting = alerting
        self._context = context
        self._run = run

    def list(self, wanted: Wanted, cursor: str) -> AlertList:
        """A page of alerts, after ``cursor``."""
        return AlertList.of(self._run(self._alerting.list(wanted, cursor), "alert.list", ""), PAGE)

    def show(self, alert: str) -> AlertView:
        """One alert."""
        return AlertView.of(self._run(self._alerting.show(alert), "alert.show", alert))

    def settle(self, alert: str, verb: Verb, reason: str) -> AlertView:
        """Acknowledge or resolve an alert."""
        work = self._alerting.settle(self._context, alert, verb, reason)
        return AlertView.of(self._run(work, SETTLED[verb], alert))

    def silences(self) -> SilenceList:
        """The silences in force."""
        found = self._run(self._alerting.silences(), "alert.silences", "")
        return SilenceList(silences=[SilenceView.of(one) for one in found])

    def silence(
        self, rule: str, matching: dict[str, str], seconds: int, reason: str
    ) -> SilenceView:
        """Make a silence."""
        work = self._alerting.silence(self._context, rule, matching, seconds, reason)
        return SilenceView.of(self._run(work, "alert.silenced", rule))

    def unsilence(self, silence: str, reason: str) -> None:
        """End a silence."""
        work = self._alerting.unsilence(self._context, silence, reason)
        self._run(work, "alert.unsilenced", silence)
