"""Working on the store and the log themselves, while no gate runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from portcullis.audit.pruned import PRUNE
from portcullis.audit.retention_holds import HoldKind
from portcullis.cli.alert_operations import DirectAlerts
from portcullis.cli.certify_operations import DirectCertifying
from portcullis.cli.direct_principals import DirectPrincipals
from portcullis.cli.glass_operations import DirectGlass
from portcullis.cli.incident_operations import DirectIncidents
from portcullis.cli.release_operations import DirectReleases
from portcullis.control.approvals_api import (
    ApprovalDetail,
    ApprovalList,
    ApprovalView,
    ShownView,
)
from portcullis.control.approvers_views import RuledView
from portcullis.control.backups import CREATE, CREATED
from portcullis.control.backups_api import BegunView
from portcullis.control.behaviour_api import (
    BaselineView,
    LineView,
    StandingList,
    StandingView,
)
from portcullis.control.breakers_api import BreakerList, BreakerReset, BreakerView
from portcullis.control.catalogue_api import DefinitionView, ToolView
from portcullis.control.kills_api import (
    KilledView,
    KillView,
    UndoneView,
    kill_view,
    killed_view,
    obeyed,
    undone_view,
)
from portcullis.control.privacy_api import ContentView, ErasureView, HoldView
from portcullis.control.pruning_api import PruningView, told
from portcullis.control.quarantine_api import QuarantinedView, QuarantineList
from portcullis.control.retiring import RETIRE
from portcullis.control.retiring_api import RetiredView
from portcullis.control.reviews_api import ReviewDetail, ReviewList, ReviewView
from portcullis.control.secrets_api import (
    RotatedView,
    SecretList,
    SecretView,
    UseList,
    UseView,
)
from portcullis.control.services import Services
from portcullis.core.approval import State
from portcullis.core.feed import IsolationScope, KillScope
from portcullis.core.review import Disposition, Wanted
from portcullis.identity.orders import SignedOrder

_TOOLS = ("catalogue.list", "")


class Direct(DirectPrincipals):
    """What the commands do, on services of their own. Refusals are recorded here."""

    def __init__(self, runner: asyncio.Runner, services: Services) -> None:
        super().__init__(runner, services)
        self._catalogue = services.catalogue("cli")
        self._privacy = services.privacy("cli")
        self._pruning = services.pruning()
        self._backups = services.backups("cli")
        self._services = services
        self._approving = services.approvals("cli")
        self._desk = services.desk("cli")
        self._kills = services.kills("cli")
        self._reviewing = services.reviews("cli")
        self._behaving = services.behaving("cli")
        self._breaking = services.breaking("cli")
        self._brokered = services.brokered("cli")
        self._quarantining = services.quarantining("cli")
        self.alerting = DirectAlerts(services.alerting("cli"), self._context, self._run)
        self.incidents = DirectIncidents(services.incidents("cli"), self._context, self._run)
        self.glass = DirectGlass(services.breaking_glass("cli"), self._context, self._run)
        self.releases = DirectReleases(services.releasing("cli"), self._context, self._run)
        self.certifying = DirectCertifying(services.certifying("cli"), self._context, self._run)

    def tools(self) -> tuple[ToolView, ...]:
        """The tools of the catalogue."""
        return tuple(map(ToolView.of, self._run(self._catalogue.tools(), *_TOOLS)))

    def tool(self, server: str, tool: str) -> DefinitionView:
        """One tool with its definitions."""
        work = self._catalogue.tool(server, tool)
        return DefinitionView.of(self._run(work, "catalogue.show", f"{server}.{tool}"))

    def pin(self, server: str, tool: str, digest: str) -> ToolView:
        """Approve a tool as it was shown."""
        work = self._catalogue.pin(self._context, server, tool, digest)
        return ToolView.of(self._run(work, "catalogue.pin", f"{server}.{tool}"))

    def erase(self, subject: str, reason: str) -> ErasureView:
        """Erase a data subject."""
        work = self._privacy.erase(self._context, subject, reason)
        return ErasureView.of(self._run(work, "audit.erase", ""))

    def content(self, event: str, reason: str) -> ContentView:
        """Read the content of an event."""
        work = self._privacy.content(self._context, event, reason)
        return ContentView.of(event, *self._run(work, "content.read", event))

    def backup(self, recipients: Sequence[str], reason: str, *, root_key: bool) -> BegunView:
        """Record that a backup is about to be made."""
        work = self._backups.begin(self._context, recipients, reason, root_key=root_key)
        return BegunView.of(self._run(work, CREATE, ""))

    def backed_up(self, backup: str, digest: str, size: int) -> None:
        """Record what was made."""
        work = self._backups.made(self._context, backup, digest, size)
        self._run(work, CREATED, backup)

    def retire(self, gateway: str, reason: str) -> RetiredView:
        """Have a gateway of another host never serve again."""
        work = self._services.retiring("cli").retire(self._context, gateway, reason)
        return RetiredView.of(self._run(work, RETIRE, gateway))

    def holds(self) -> tuple[HoldView, ...]:
        """The legal holds in force."""
        return tuple(map(HoldView.of, self._run(self._privacy.holds(), "audit.holds", "")))

    def hold(self, kind: HoldKind, target: str, reason: str) -> HoldView:
        """Make a legal hold."""
        work = self._privacy.hold(self._context, kind, target, reason)
        return HoldView.of(self._run(work, "audit.hold", ""))

    def release(self, hold: str, reason: str) -> None:
        """End a legal hold."""
        self._run(self._privacy.release(self._context, hold, reason), "audit.release", hold)

    def approvals(self, state: State | None) -> ApprovalList:
        """The approvals, or those in one state."""
        states = tuple(State) if state is None else (state,)
        found = self._run(self._approving.list(states), "approval.list", "")
        frozen = self._run(self._approving.frozen(), "approval.list", "")
        waiting = self._run(self._desk.waiting(), "approval.list", "")
        views = [ApprovalView.of(one) for one in found]
        return ApprovalList(approvals=views, frozen=list(frozen), waiting=waiting)

    def approval(self, approval: str) -> ApprovalDetail:
        """One approval with the call that waits."""
        work = self._approving.show(self._context, approval)
        found, shown = self._run(work, "approval.read", approval)
        call = None if shown is None else ShownView.of(shown)
        asked = self._approving.rules(self._context, found, shown)
        rules = [RuledView.of(one) for one in self._run(asked, "approval.read", approval)]
        why = self._run(
            self._approving.hindrance(self._context, found, shown), "approval.read", approval
        )
        return ApprovalDetail(
            approval=ApprovalView.of(found),
            call=call,
            rules=rules,
            hindrance="" if why is None else why.detail,
        )

    def approve(self, approval: str, reason: str) -> ApprovalView:
        """Approve a call."""
        work = self._approving.approve(self._context, approval, reason)
        return ApprovalView.of(self._run(work, "approval.approved", approval))

    def deny(self, approval: str, reason: str) -> ApprovalView:
        """Deny a call."""
        work = self._approving.deny(self._context, approval, reason)
        return ApprovalView.of(self._run(work, "approval.denied", approval))

    def kill(self, scope: KillScope, value: str, reason: str, playbook: str = "") -> KilledView:
        """Kill an agent, a session or a role: whatever starts next knows of it."""
        work = self._kills.kill(self._context, scope, value, reason, playbook)
        return killed_view(self._run(work, "kills.kill", f"{scope}:{value}"))

    def undo(self, scope: KillScope, value: str, reason: str) -> UndoneView:
        """Take a kill back."""
        work = self._kills.undo(self._context, scope, value, reason)
        return undone_view(self._run(work, "kills.undo", f"{scope}:{value}"))

    def kills(self) -> tuple[KillView, ...]:
        """Who is killed."""
        standing = self._run(self._kills.standing(), "kills.list", "")
        return tuple(kill_view(one) for one in standing)

    def order(self, signed: SignedOrder) -> KilledView | UndoneView:
        """Obey a signed order."""
        return obeyed(self._run(self._kills.obey(signed, "cli", ""), "kills.order", "all"))

    def lift(self, agent: str, reason: str) -> None:
        """Let an agent ask again."""
        work = self._approving.lift(self._context, agent, reason)
        self._run(work, "approval.lifted", f"agent:{agent}")

    def secrets(self) -> SecretList:
        """The secrets of the configuration."""
        found = self._run(self._brokered.list(), "secret.list", "")
        return SecretList(secrets=[SecretView.of(one) for one in found])

    def secret_uses(self, agent: str, reference: str, since: float) -> UseList:
        """Who used which."""
        found = self._run(self._brokered.access(agent, reference, since), "secret.access", "")
        return UseList(uses=[UseView.of(one) for one in found])

    def rotate_secret(self, reference: str, reason: str) -> RotatedView:
        """Rotate one."""
        work = self._brokered.rotate(self._context, reference, reason)
        return RotatedView.of(self._run(work, "secret.rotate", reference))

    def breakers(self) -> BreakerList:
        """The breakers that are not closed."""
        found = self._run(self._breaking.list(), "breaker.list", "")
        return BreakerList(breakers=[BreakerView.of(one) for one in found])

    def close_breaker(self, breaker: str, reason: str) -> BreakerReset:
        """Close a breaker."""
        work = self._breaking.reset(self._context, breaker, reason)
        return BreakerReset(breaker=breaker, closed=self._run(work, "breaker.close", breaker))

    def quarantined(self) -> QuarantineList:
        """Who is in quarantine."""
        found = self._run(self._quarantining.list(), "quarantine.list", "")
        return QuarantineList(quarantined=[QuarantinedView.of(one) for one in found])

    def quarantine(self, scope: IsolationScope, value: str, reason: str) -> None:
        """Isolate an agent or a session."""
        work = self._quarantining.begin(self._context, scope, value, reason)
        self._run(work, "quarantine.begin", f"{scope}:{value}")

    def let_out(self, scope: IsolationScope, value: str, reason: str) -> None:
        """Let an agent or a session out of quarantine."""
        work = self._quarantining.end(self._context, scope, value, reason)
        self._run(work, "quarantine.end", f"{scope}:{value}")

    def reviews(self, wanted: Wanted, cursor: str) -> ReviewList:
        """The calls to be looked at, after ``cursor``."""
        work = self._reviewing.list(wanted, cursor)
        return ReviewList.of(self._run(work, "review.list", ""))

    def review(self, entry: str) -> ReviewDetail:
        """One of them with what is left of the call."""
        work = self._reviewing.show(self._context, entry)
        return ReviewDetail.of(*self._run(work, "review.read", entry))

    def close(self, entry: str, disposition: Disposition, reason: str) -> ReviewView:
        """Say what a call was."""
        work = self._reviewing.close(self._context, entry, disposition, reason)
        return ReviewView.of(self._run(work, "review.closed", entry))

    def reopen(self, entry: str, reason: str) -> ReviewView:
        """Look at a call again."""
        work = self._reviewing.reopen(self._context, entry, reason)
        return ReviewView.of(self._run(work, "review.reopened", entry))

    def behaviours(self) -> StandingList:
        """How all agents stand."""
        found = self._run(self._behaving.list(), "behaviour.list", "")
        return StandingList(agents=[StandingView.of(one) for one in found])

    def behaviour(self, agent: str) -> BaselineView:
        """How one agent stands, and what is usual for it."""
        stands = self._run(self._behaving.get(agent), "behaviour.show", agent)
        usual = self._run(self._behaving.usual(agent), "behaviour.show", agent)
        return BaselineView(
            standing=StandingView.of(stands), usual=[LineView.of(one) for one in usual]
        )

    def ratify_behaviour(self, agent: str, reason: str) -> StandingView:
        """Say that what an agent does is as it should be."""
        work = self._behaving.ratify(self._context, agent, reason)
        return StandingView.of(self._run(work, "behaviour.ratify", agent))

    def reset_behaviour(self, agent: str, reason: str) -> StandingView:
        """Forget what was learned of an agent."""
        work = self._behaving.reset(self._context, agent, reason)
        return StandingView.of(self._run(work, "behaviour.reset", agent))

    def prune(
        self, segment: int, before: float | None, reason: str, *, dry_run: bool
    ) -> PruningView:
        """Prune a segment of the log."""
        tell = told(self._records, self._context, reason, "cli")
        limits = self._pruning.before(before)
        work = self._pruning.step(segment, limits, None if dry_run else tell)
        return PruningView.of(self._run(work, PRUNE, ""))
