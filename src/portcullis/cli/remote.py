"""Asking the control plane of the gate that runs on this machine."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from portcullis.cli.alert_operations import RemoteAlerts
from portcullis.cli.remote_call import call
from portcullis.cli.remote_principals import RemotePrincipals
from portcullis.control.approvals_api import ApprovalDetail, ApprovalList, ApprovalView
from portcullis.control.backups_api import BegunView
from portcullis.control.behaviour_api import BaselineView, StandingList, StandingView
from portcullis.control.breakers_api import BreakerList, BreakerReset
from portcullis.control.catalogue_api import DefinitionView, ToolList, ToolView
from portcullis.control.kills_api import KilledView, KillList, KillView, UndoneView
from portcullis.control.limits_api import LimitList
from portcullis.control.privacy_api import ContentView, ErasureView, HoldList, HoldView
from portcullis.control.pruning_api import PruningView
from portcullis.control.quarantine_api import QuarantineList
from portcullis.control.retiring_api import RetiredView
from portcullis.control.reviews_api import ReviewDetail, ReviewList, ReviewView
from portcullis.control.secrets_api import RotatedView, SecretList, UseList
from portcullis.core.approval import State
from portcullis.core.feed import IsolationScope, KillScope
from portcullis.core.review import Disposition, Wanted
from portcullis.identity.orders import SignedOrder
from portcullis.identity.tokens import TokenAuthority

if TYPE_CHECKING:
    from portcullis.audit.retention_holds import HoldKind
    from portcullis.cli.certify_operations import RemoteCertifying
    from portcullis.cli.glass_operations import RemoteGlass
    from portcullis.cli.incident_operations import RemoteIncidents
    from portcullis.cli.release_operations import RemoteReleases


class Remote(RemotePrincipals):
    """What the commands do, through the control plane at ``url``."""

    def __init__(self, url: str, authority: TokenAuthority) -> None:
        super().__init__(url, authority)
        self.alerting = RemoteAlerts(self._call)

    @property
    def incidents(self) -> RemoteIncidents:
        """What is asked of incidents."""
        from portcullis.cli.incident_operations import RemoteIncidents  # noqa: PLC0415 - slow

        return RemoteIncidents(self._call)

    @property
    def certifying(self) -> RemoteCertifying:
        """What is asked of access reviews."""
        from portcullis.cli.certify_operations import RemoteCertifying  # noqa: PLC0415 - slow

        return RemoteCertifying(self._call)

    @property
    def glass(self) -> RemoteGlass:
        """What is asked of broken glass."""
        from portcullis.cli.glass_operations import RemoteGlass  # noqa: PLC0415 - slow

        return RemoteGlass(self._call)

    @property
    def releases(self) -> RemoteReleases:
        """What is asked of releases of policy."""
        from portcullis.cli.release_operations import RemoteReleases  # noqa: PLC0415 - slow

        return RemoteReleases(self._call)

    def tools(self) -> tuple[ToolView, ...]:
        """The tools of the catalogue."""
        return tuple(ToolList.model_validate(self._call("GET", "/catalogue")).tools)

    def tool(self, server: str, tool: str) -> DefinitionView:
        """One tool with its definitions."""
        query = urlencode({"server": server, "tool": tool})
        return DefinitionView.model_validate(self._call("GET", f"/catalogue/tool?{query}"))

    def pin(self, server: str, tool: str, digest: str) -> ToolView:
        """Approve a tool as it was shown."""
        body = {"server": server, "tool": tool, "digest": digest}
        return ToolView.model_validate(self._call("POST", "/catalogue/pin", body))

    def erase(self, subject: str, reason: str) -> ErasureView:
        """Erase a data subject."""
        body = {"subject": subject, "reason": reason}
        return ErasureView.model_validate(self._call("POST", "/erasures", body))

    def content(self, event: str, reason: str) -> ContentView:
        """Read the content of an event."""
        body = {"event": event, "reason": reason}
        return ContentView.model_validate(self._call("POST", "/content", body))

    def backup(self, recipients: Sequence[str], reason: str, *, root_key: bool) -> BegunView:
        """Record that a backup is about to be made."""
        body = {"recipients": list(recipients), "reason": reason, "root_key": root_key}
        return BegunView.model_validate(self._call("POST", "/backups", body))

    def backed_up(self, backup: str, digest: str, size: int) -> None:
        """Record what was made."""
        self._call("POST", f"/backups/{backup}/made", {"digest": digest, "bytes": size})

    def retire(self, gateway: str, reason: str) -> RetiredView:
        """Have a gateway of another host never serve again."""
        found = self._call("POST", f"/gateways/{gateway}/retire", {"reason": reason})
        return RetiredView.model_validate(found)

    def holds(self) -> tuple[HoldView, ...]:
        """The legal holds in force."""
        return tuple(HoldList.model_validate(self._call("GET", "/holds")).holds)

    def hold(self, kind: HoldKind, target: str, reason: str) -> HoldView:
        """Make a legal hold."""
        body = {"kind": kind, "target": target, "reason": reason}
        return HoldView.model_validate(self._call("POST", "/holds", body))

    def release(self, hold: str, reason: str) -> None:
        """End a legal hold."""
        self._call("POST", f"/holds/{hold}/release", {"reason": reason})

    def approvals(self, state: State | None) -> ApprovalList:
        """The approvals, or those in one state."""
        query = "" if state is None else f"?state={state}"
        return ApprovalList.model_validate(self._call("GET", f"/approvals{query}"))

    def waiting(self, cursor: str, limit: int) -> ApprovalList:
        """A page of the approvals that wait, the oldest first."""
        query = urlencode({"state": State.PENDING.value, "limit": limit, "cursor": cursor})
        return ApprovalList.model_validate(self._call("GET", f"/approvals?{query}"))

    def asked(self, cursor: str, limit: int) -> ApprovalList:
        """A page of the approvals in any state, the newest first; none whose time ran out."""
        query = urlencode({"limit": limit, "cursor": cursor})
        return ApprovalList.model_validate(self._call("GET", f"/approvals?{query}"))

    def approval(self, approval: str) -> ApprovalDetail:
        """One approval with the call that waits."""
        return ApprovalDetail.model_validate(self._call("GET", f"/approvals/{approval}"))

    def approve(self, approval: str, reason: str) -> ApprovalView:
        """Approve a call."""
        done = self._call("POST", f"/approvals/{approval}/approve", {"reason": reason})
        return ApprovalView.model_validate(done)

    def deny(self, approval: str, reason: str) -> ApprovalView:
        """Deny a call."""
        done = self._call("POST", f"/approvals/{approval}/deny", {"reason": reason})
        return ApprovalView.model_validate(done)

    def kill(self, scope: KillScope, value: str, reason: str, playbook: str = "") -> KilledView:
        """Kill an agent, a session or a role."""
        body = {"scope": scope, "value": value, "reason": reason or None}
        body |= {"incident": playbook} if playbook else {}
        return KilledView.model_validate(self._call("POST", "/kills", body))

    def undo(self, scope: KillScope, value: str, reason: str) -> UndoneView:
        """Take a kill back."""
        body = {"scope": scope, "value": value, "reason": reason}
        return UndoneView.model_validate(self._call("POST", "/kills/undo", body))

    def kills(self) -> tuple[KillView, ...]:
        """Who is killed."""
        return tuple(KillList.model_validate(self._call("GET", "/kills")).kills)

    def order(self, signed: SignedOrder) -> KilledView | UndoneView:
        """Hand over a signed order: it is its own credential."""
        body = {
            "order": base64.b64encode(signed.order).decode(),
            "signature": base64.b64encode(signed.signature).decode(),
        }
        done = call(self._url, "POST", "/api/v1/kills/order", body=body)
        shape = UndoneView if done.get("kind") == "undone" else KilledView
        return shape.model_validate(done)

    def lift(self, agent: str, reason: str) -> None:
        """Let an agent ask again."""
        self._call("POST", "/approvals/lift", {"agent": agent, "reason": reason})

    def limits(self, *, name: str, agent: str, user: str, cursor: str) -> LimitList:
        """What is left of limits, after ``cursor``."""
        asked = {"name": name, "agent": agent, "user": user, "cursor": cursor}
        query = urlencode({key: value for key, value in asked.items() if value})
        return LimitList.model_validate(self._call("GET", f"/limits?{query}"))

    def secrets(self) -> SecretList:
        """The secrets of the configuration."""
        return SecretList.model_validate(self._call("GET", "/secrets"))

    def secret_uses(self, agent: str, reference: str, since: float) -> UseList:
        """Who used which."""
        wanted = {"agent": agent, "secret": reference, "since": f"{since:.0f}"}
        query = urlencode({name: value for name, value in wanted.items() if value})
        return UseList.model_validate(self._call("GET", f"/secrets/access?{query}"))

    def rotate_secret(self, reference: str, reason: str) -> RotatedView:
        """Rotate one."""
        body = {"reference": reference, "reason": reason}
        return RotatedView.model_validate(self._call("POST", "/secrets/rotate", body))

    def breakers(self) -> BreakerList:
        """The breakers that are not closed."""
        return BreakerList.model_validate(self._call("GET", "/breakers"))

    def close_breaker(self, breaker: str, reason: str) -> BreakerReset:
        """Close a breaker."""
        body = {"breaker": breaker, "reason": reason}
        return BreakerReset.model_validate(self._call("POST", "/breakers/reset", body))

    def quarantined(self) -> QuarantineList:
        """Who is in quarantine."""
        return QuarantineList.model_validate(self._call("GET", "/quarantine"))

    def quarantine(self, scope: IsolationScope, value: str, reason: str) -> None:
        """Isolate an agent or a session."""
        self._call("POST", "/quarantine", {"scope": scope, "value": value, "reason": reason})

    def let_out(self, scope: IsolationScope, value: str, reason: str) -> None:
        """Let an agent or a session out of quarantine."""
        body = {"scope": scope, "value": value, "reason": reason}
        self._call("POST", "/quarantine/release", body)

    def reviews(self, wanted: Wanted, cursor: str) -> ReviewList:
        """The calls to be looked at, after ``cursor``."""
        asked = {
            "state": wanted.state and wanted.state.value,
            "agent": wanted.agent,
            "risk": wanted.risk,
            "cursor": cursor,
        }
        query = urlencode({name: value for name, value in asked.items() if value})
        return ReviewList.model_validate(self._call("GET", f"/reviews?{query}"))

    def review(self, entry: str) -> ReviewDetail:
        """One of them with what is left of the call."""
        return ReviewDetail.model_validate(self._call("GET", f"/reviews/{entry}"))

    def close(self, entry: str, disposition: Disposition, reason: str) -> ReviewView:
        """Say what a call was."""
        body = {"disposition": disposition.value, "reason": reason}
        return ReviewView.model_validate(self._call("POST", f"/reviews/{entry}/close", body))

    def reopen(self, entry: str, reason: str) -> ReviewView:
        """Look at a call again."""
        done = self._call("POST", f"/reviews/{entry}/reopen", {"reason": reason})
        return ReviewView.model_validate(done)

    def behaviours(self) -> StandingList:
        """How all agents stand."""
        return StandingList.model_validate(self._call("GET", "/behaviour"))

    def behaviour(self, agent: str) -> BaselineView:
        """How one agent stands, and what is usual for it."""
        return BaselineView.model_validate(self._call("GET", f"/behaviour/{agent}"))

    def ratify_behaviour(self, agent: str, reason: str) -> StandingView:
        """Say that what an agent does is as it should be."""
        done = self._call("POST", f"/behaviour/{agent}/ratify", {"reason": reason})
        return StandingView.model_validate(done)

    def reset_behaviour(self, agent: str, reason: str) -> StandingView:
        """Forget what was learned of an agent."""
        done = self._call("POST", f"/behaviour/{agent}/reset", {"reason": reason})
        return StandingView.model_validate(done)

    def prune(
        self, segment: int, before: float | None, reason: str, *, dry_run: bool
    ) -> PruningView:
        """Prune a segment of the log."""
        body = {"segment": segment, "before": before, "reason": reason, "dry_run": dry_run}
        return PruningView.model_validate(self._call("POST", "/prunings", body))
