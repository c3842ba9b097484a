"""The console, put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.routing import BaseRoute

from portcullis.control.closing import Closing
from portcullis.control.comparing import Comparing
from portcullis.control.connecting import Connecting
from portcullis.control.console import (
    agents,
    approval,
    breakers,
    decisions,
    inbox,
    limits,
    live,
    sessions,
    threats,
    tools,
)
from portcullis.control.console.account import AccountPages
from portcullis.control.console.agent import AgentPages
from portcullis.control.console.alerts import AlertPages
from portcullis.control.console.assets import Assets
from portcullis.control.console.ceremonies import Ceremonies
from portcullis.control.console.connect import ConnectPages
from portcullis.control.console.containment import ContainmentPages
from portcullis.control.console.cutting import Cutting
from portcullis.control.console.door import Doors
from portcullis.control.console.glass import GlassPages
from portcullis.control.console.guard import Csrf, Hosts
from portcullis.control.console.history import HistoryPages
from portcullis.control.console.incident_steps import IncidentSteps
from portcullis.control.console.incidents import IncidentPages
from portcullis.control.console.links import Links
from portcullis.control.console.login import LoginPages
from portcullis.control.console.passkeys import Handles, PasskeyKeeping, PasskeyLogins
from portcullis.control.console.policy import PolicyPages
from portcullis.control.console.releases import ReleasePages
from portcullis.control.console.render import Pages
from portcullis.control.console.streams import Streams
from portcullis.control.desk import Meaning, unlisted
from portcullis.control.limits import LimitParts
from portcullis.control.login import Logins
from portcullis.control.services import Services
from portcullis.control.tools import Standing
from portcullis.core.passkey_ports import Passkeys
from portcullis.identity.once import LocalOnce
from portcullis.policy.pdp import PRODUCTION
from portcullis.review.threats import Model

ROUTE = "console"
"""What the console is called in the records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleParts:
    """What the console stands on.

    ``names`` are our names on the listener, ``logins`` those of the process, ``passkeys`` where
    they are kept, ``streams`` what ends them when the gate stops, ``limits`` what counts,
    ``tools`` what runs where, ``meaning`` what tools mean, ``connecting`` what
    users connect their accounts with, ``threats`` what draws the threat model, if anything.
    ``environment`` is the gate's, to policy; ``logs`` are the folders of all logs.
    """

    services: Services
    logins: Logins
    passkeys: Passkeys
    streams: Streams
    names: tuple[str, ...]
    limits: LimitParts
    meaning: Meaning = unlisted
    connecting: Connecting | None = None
    tools: tuple[Standing, ...] = ()
    threats: Callable[[], Model] | None = None
    environment: str = PRODUCTION
    logs: Callable[[], tuple[str, ...]] = tuple


def console_routes(parts: ConsoleParts) -> list[BaseRoute]:
    """All pages, forms and files of the console."""
    services, clock = parts.services, parts.services.clock
    settings, key = services.console, services.console_key
    assets = Assets()
    pages = Pages(assets, clock)

    desk = services.desk(ROUTE, parts.meaning)
    doors = Doors(
        edge=services.edge(ROUTE, parts.names),
        authority=services.authority,
        hosts=Hosts.of((*parts.names, settings.name), settings.origin),
        csrf=Csrf(key),
        pages=pages,
        streams=parts.streams,
        clock=clock,
        waiting=desk.waiting,
        glass=services.breaking_glass(ROUTE).open,
    )
    principals = services.principals(ROUTE)
    records, handles = services.identity_records(), Handles(key)
    ceremonies = Ceremonies(key, clock, LocalOnce(clock))
    showing = PasskeyLogins(parts.passkeys, handles, clock, ceremonies)
    breaking_glass = services.breaking_glass(ROUTE)
    login = LoginPages(
        doors,
        pages,
        parts.logins,
        Links(
            services.authority, services.once, records, clock, services.tokens.operator_ttl_seconds
        ),
        showing,
        principals,
        clock,
        passkeys_required=settings.passkeys == "required",
    )
    keeping = PasskeyKeeping(parts.passkeys, handles, principals, records, clock, ceremonies)
    approving, activity = services.approvals(ROUTE), services.activity()
    behaving, kills, outcomes = services.behaving(ROUTE), services.kills(ROUTE), services.outcomes
    cutting = Cutting(services.feed, services.observed)
    alerting, releasing = services.alerting(ROUTE), services.releasing(ROUTE)
    quarantining, incidents = services.quarantining(ROUTE), services.incidents(ROUTE)
    incident_pages = IncidentPages(doors=doors, pages=pages, incidents=incidents)
    return [
        *inbox.routes(doors, pages, desk, approving),
        *approval.routes(doors, pages, desk, approving),
        *live.routes(doors, pages, activity, services.watching()),
        *decisions.routes(doors, pages, activity),
        *agents.routes(doors, pages, activity, behaving, cutting),
        *AgentPages(
            doors=doors,
            pages=pages,
            activity=activity,
            behaving=behaving,
            principals=principals,
            kills=kills,
            cutting=cutting,
            outcomes=outcomes,
            incidents=incidents,
        ).routes(),
        *limits.routes(doors, pages, parts.limits),
        *breakers.routes(doors, pages, services.breaking(ROUTE)),
        *tools.routes(doors, pages, parts.tools),
        *(threats.routes(doors, pages, parts.threats) if parts.threats else ()),
        *PolicyPages(
            doors=doors,
            pages=pages,
            certifying=services.certifying(ROUTE),
            releasing=releasing,
            alerting=alerting,
        ).routes(),
        *ReleasePages(
            doors=doors,
            pages=pages,
            releasing=releasing,
            comparing=Comparing(releasing, parts.environment, parts.logs),
            clock=clock,
        ).routes(),
        *ContainmentPages(
            doors=doors,
            pages=pages,
            activity=activity,
            kills=kills,
            quarantining=quarantining,
            cutting=cutting,
            outcomes=outcomes,
            incidents=incidents,
            sessions=services.sessions,
            clock=clock,
        ).routes(),
        *incident_pages.routes(),
        *IncidentSteps(doors=doors, incidents=incidents, page=incident_pages).routes(),
        *HistoryPages(
            doors=doors, pages=pages, incidents=incidents, telling=services.telling(ROUTE)
        ).routes(),
        *AlertPages(
            doors=doors,
            pages=pages,
            alerting=alerting,
            activity=activity,
            releasing=releasing,
        ).routes(),
        *sessions.routes(
            doors, pages, activity, Closing(services.sessions, services.records(), ROUTE)
        ),
        *login.routes(),
        *(ConnectPages(doors, pages, parts.connecting).routes() if parts.connecting else ()),
        *GlassPages(
            doors=doors,
            pages=pages,
            breaking=breaking_glass,
            logins=parts.logins,
            showing=showing,
            keeping=keeping,
            clock=clock,
            passkeys_required=login.passkeys_required,
        ).routes(),
        *AccountPages(doors, pages, keeping).routes(),
        assets.route(),
        doors.unknown(),
    ]
