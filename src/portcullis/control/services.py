"""What the composition root hands to the APIs, in one value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial

from portcullis.control.activity import Activity
from portcullis.control.alerts import Alerting
from portcullis.control.approvals import Approving
from portcullis.control.backups import Backups
from portcullis.control.behaviour import Behaving
from portcullis.control.break_glass import BreakingGlass
from portcullis.control.breakers import Breaking
from portcullis.control.catalogue import Catalogue, Changed, unwatched
from portcullis.control.certifying import Certifying
from portcullis.control.closing import Closing
from portcullis.control.desk import Desk, Meaning, unlisted
from portcullis.control.edge import LOCAL_NAMES, Edge
from portcullis.control.entries import Entries
from portcullis.control.incidents import Incidents
from portcullis.control.incidents_acts import Acts
from portcullis.control.incidents_opening import AlertIncidents, KillIncidents
from portcullis.control.incidents_parts import unheld
from portcullis.control.incidents_timeline import Telling
from portcullis.control.kills import Kills, Opening
from portcullis.control.live import Feed
from portcullis.control.login import Logins
from portcullis.control.principals import Principals
from portcullis.control.privacy import Privacy
from portcullis.control.pruning import Pruning
from portcullis.control.quarantine import Quarantining
from portcullis.control.records import Records
from portcullis.control.releases import Releasing
from portcullis.control.retiring import Retiring
from portcullis.control.reviews import Reviewing
from portcullis.control.secrets import Brokered
from portcullis.control.services_parts import ServiceParts
from portcullis.core.errors import Problem
from portcullis.identity.records import IdentityRecords
from portcullis.oversight.events import Events
from portcullis.oversight.keeping import Keeping


@dataclass(frozen=True, slots=True, kw_only=True)
class Services(ServiceParts):
    """The services of the APIs, each made of these parts for the face that asks (``route``)."""

    def records(self) -> Records:
        """What writes the events of the APIs."""
        return Records(
            gateway=self.gateway,
            recorder=self.recorder,
            clock=self.clock,
            new_id=self.new_id,
        )

    def identity_records(self) -> IdentityRecords:
        """What writes the events about credentials."""
        return IdentityRecords(self.gateway, self.recorder, self.clock, self.new_id)

    def edge(
        self, route: str, names: Collection[str] = LOCAL_NAMES, *, body_bytes: int = 262_144
    ) -> Edge:
        """The edge of the API that is called ``route`` in the records.

        ``names`` are the names and addresses that clients know this host by. Bodies have at most
        ``body_bytes``, and what the configuration says.
        """
        return Edge(
            route=route,
            authenticator=self.authority,
            feed=self.feed,
            records=self.records(),
            clock=self.clock,
            body_bytes=min(self.limits.body_bytes, body_bytes),
            receive_seconds=self.limits.receive_seconds,
            names=names,
            roles=self.operator_roles,
        )

    def principals(self, route: str) -> Principals:
        """The service of principals and tokens, under this ``route`` in the records."""
        return Principals(
            directory=self.directory,
            registrations=self.registrations,
            operators=self.operators,
            feed=self.feed,
            authority=self.authority,
            records=self.records(),
            clock=self.clock,
            tokens=self.tokens,
            trust_domain=self.trust_domain,
            route=route,
            passkeys=self.passkeys,
            roles=self.operator_roles,
        )

    def entries(self, route: str) -> Entries:
        """The service of registration entries and join tokens."""
        return Entries(
            registrations=self.registrations,
            principals=self.principals(route),
            records=self.records(),
            clock=self.clock,
            new_id=self.new_id,
            route=route,
        )

    def catalogue(self, route: str, changed: Changed = unwatched) -> Catalogue:
        """The service of approved tools; ``changed`` is told when one is approved."""
        return Catalogue(self.pins, self.records(), self.clock, route, changed)

    def privacy(self, route: str) -> Privacy:
        """The service of erasure, content and holds; one in a process: it does one at a time."""
        if self.privacy_parts is None:
            raise Problem("PC7005", "there are no subjects' keys here")
        return Privacy(
            parts=self.privacy_parts,
            records=self.records(),
            clock=self.clock,
            new_id=self.new_id,
            route=route,
        )

    def approvals(self, route: str) -> Approving:
        """The service of calls that wait for a human."""
        if self.approval_parts is None:
            raise Problem("PC7005", "nothing waits for approval here")
        return Approving(
            parts=self.approval_parts,
            directory=self.directory,
            sealer=self.sealer,
            records=self.records(),
            clock=self.clock,
            route=route,
        )

    def breaking_glass(self, route: str) -> BreakingGlass:
        """The service of operators who break the glass."""
        if self.glass_parts is None:
            raise Problem("PC7005", "nobody breaks the glass here")
        return BreakingGlass(
            parts=self.glass_parts,
            principals=self.principals(route),
            directory=self.directory,
            records=self.records(),
            clock=self.clock,
            route=route,
        )

    def quarantining(self, route: str) -> Quarantining:
        """The service of who is in quarantine."""
        return self._quarantining(route, partial(unheld, self.incident_parts))

    def _quarantining(
        self, route: str, held: Callable[[str, str], Awaitable[None]] | None
    ) -> Quarantining:
        return Quarantining(
            feed=self.feed,
            directory=self.directory,
            sessions=self.sessions,
            records=self.records(),
            route=route,
            unheld=held,
        )

    def incidents(self, route: str) -> Incidents:
        """The service of incidents. Raises Problem PC7005 where none can be led."""
        if self.incident_parts is None:
            raise Problem("PC7005", "no incident can be led here")
        acts = Acts(
            feed=self.feed,
            kills=self._kills(route, None),
            quarantining=self._quarantining(route, None),
            principals=self.principals(route),
            entries=self.entries(route),
            sessions=self.sessions,
            closing=Closing(self.sessions, self.records(), route),
            clock=self.clock,
            behaving=self.behaving(route) if self.behaviour_parts is not None else None,
        )
        return Incidents(
            self.incident_parts,
            acts,
            self.directory,
            self.records(),
            self.clock,
            self.new_id,
            route,
        )

    def telling(self, route: str) -> Telling:
        """What the history of incidents says. Raises Problem PC7005 where none can be led."""
        parts = self.incident_parts
        return Telling(self.incidents(route), None if parts is None else parts.history, self.clock)

    def alert_incidents(self, route: str) -> AlertIncidents | None:
        """What opens incidents for alerts; None where none can be led."""
        if self.incident_parts is None:
            return None
        return AlertIncidents(self.incident_parts, self.incidents(route), self.directory)

    def alerting(self, route: str) -> Alerting:
        """The service of alerts."""
        if self.alert_parts is None:
            raise Problem("PC7005", "nothing is raised here")
        return Alerting(self.alert_parts, self.records(), self.clock, self.new_id, route)

    def breaking(self, route: str) -> Breaking:
        """The service of circuit breakers."""
        return Breaking(self.breakers, self.records(), route)

    def brokered(self, route: str) -> Brokered:
        """The service of secrets. Raises Problem PC7005 where none are given out."""
        if self.secret_parts is None:
            raise Problem("PC7005", "no secrets are given out here")
        return Brokered(self.secret_parts, self.records(), self.clock, route)

    def releasing(self, route: str) -> Releasing:
        """The service of releases of policy. Raises Problem PC7005 where there are none."""
        if self.release_parts is None:
            raise Problem("PC7005", "there are no releases of policy here")
        return Releasing(self.release_parts, self.directory, self.records(), self.clock, route)

    def certifying(self, route: str) -> Certifying:
        """The service of access reviews. Raises Problem PC7005 where there are none."""
        if self.certifying_parts is None:
            raise Problem("PC7005", "what agents may is not reviewed here")
        parts, releasing = self.certifying_parts, self.releasing(route)
        return Certifying(parts, releasing, self.directory, self.records(), self.clock, route)

    def kills(self, route: str) -> Kills:
        """The kill switch."""
        parts = self.incident_parts
        opening = None if parts is None else KillIncidents(parts, self.incidents(route))
        return self._kills(route, opening)

    def _kills(self, route: str, incidents: Opening | None) -> Kills:
        parts = self.approval_parts
        keeping = None
        if parts is not None:
            keeping = Keeping(
                store=parts.store,
                sessions=self.sessions,
                recorder=self.recorder,
                clock=self.clock,
                events=Events(self.gateway, self.clock, self.new_id),
                settings=parts.settings,
                deciding=parts.deciding,
            )
        return Kills(
            feed=self.feed,
            directory=self.directory,
            records=self.records(),
            clock=self.clock,
            route=route,
            approvals=parts,
            keeping=keeping,
            orders=self.orders,
            key=self.kill_key,
            incidents=incidents,
            heard=self.outcomes.add,
        )

    def desk(self, route: str, meaning: Meaning = unlisted) -> Desk:
        """The operator's desk; ``meaning`` is what the policy in force says of tools."""
        if self.approval_parts is None or self.desk_parts is None:
            raise Problem("PC7005", "nothing waits for approval here")
        return Desk(
            store=self.approval_parts.store,
            precedents=self.desk_parts.precedents,
            meaning=meaning,
            records=self.records(),
            clock=self.clock,
            route=route,
        )

    def activity(self) -> Activity:
        """What agents do, for operators."""
        if self.approval_parts is None or self.desk_parts is None:
            raise Problem("PC7005", "nothing is projected here")
        return Activity(
            store=self.desk_parts.activity,
            approvals=self.approval_parts.store,
            sessions=self.sessions,
            clock=self.clock,
        )

    def watching(self) -> Feed:
        """What happens now; one in a process."""
        if self.desk_parts is None:
            raise Problem("PC7005", "nothing can be watched here")
        return self.desk_parts.feed

    def reviews(self, route: str) -> Reviewing:
        """The service of calls to be looked at afterwards."""
        if self.review_parts is None:
            raise Problem("PC7005", "nothing is to be looked at here")
        return Reviewing(
            parts=self.review_parts,
            privacy=self.privacy_parts,
            directory=self.directory,
            sessions=self.sessions,
            records=self.records(),
            clock=self.clock,
            route=route,
        )

    def behaving(self, route: str) -> Behaving:
        """The service of what is usual for agents."""
        if self.behaviour_parts is None:
            raise Problem("PC7005", "nothing is learned here")
        return Behaving(self.behaviour_parts, self.records(), self.clock, route)

    def pruning(self) -> Pruning:
        """The service that prunes the log."""
        if self.privacy_parts is None or self.pruning_parts is None:
            raise Problem("PC7005", "there is no log to prune here")
        return Pruning(self.pruning_parts, self.privacy_parts)

    def backups(self, route: str) -> Backups:
        """The service that has backups on record."""
        if self.review_parts is None:
            raise Problem("PC7005", "there is no log to back up here")
        return Backups(self.records(), self.review_parts.size, self.new_id, route)

    def retiring(self, route: str) -> Retiring:
        """The service that retires gateways of other hosts."""
        if self.hosts is None:
            raise Problem("PC7097", "records are in a file: no other host has gateways of ours")
        return Retiring(self.hosts, self.records(), route)

    def logins(self, route: str) -> Logins:
        """The operators' logins; one in a process, since it counts failures."""
        return Logins(
            operators=self.operators,
            principals=self.principals(route),
            sealer=self.sealer,
            records=self.identity_records(),
            clock=self.clock,
            vouched=None if self.id_tokens is None else self.id_tokens.operator,
            issuer=self.trust_domain,
            cost=self.argon2,
            grain=self.login_grain,
            passkeys_required=self.console.passkeys == "required",
        )
