"""The console, put together."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.routing import BaseRoute

from portcullis.control.closing import Closing
from portcullis.control.console import agents, approval, decisions, inbox, live, sessions
from portcullis.control.console.account import AccountPages
from portcullis.control.console.assets import Assets
from portcullis.control.console.ceremonies import Ceremonies
from portcullis.control.console.door import Doors
from portcullis.control.console.guard import NAME, Csrf, Hosts
from portcullis.control.console.links import Links
from portcullis.control.console.login import LoginPages
from portcullis.control.console.passkeys import Handles, PasskeyKeeping, PasskeyLogins
from portcullis.control.console.render import Pages
from portcullis.control.console.streams import Streams
from portcullis.control.desk import Meaning, unlisted
from portcullis.control.login import Logins
from portcullis.control.services import Services
from portcullis.core.passkey_ports import Passkeys
from portcullis.identity.once import LocalOnce

ROUTE = "console"
"""What the console is called in the records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleParts:
    """What the console stands on.

    ``names`` are our names on the listener, ``logins`` those of the process, ``passkeys`` where
    they are kept, ``streams`` what ends them when the gate stops, ``meaning`` what tools mean.
    """

    services: Services
    logins: Logins
    passkeys: Passkeys
    streams: Streams
    names: tuple[str, ...]
    meaning: Meaning = unlisted


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
        hosts=Hosts.of((*parts.names, NAME), settings.origin),
        csrf=Csrf(key),
        pages=pages,
        streams=parts.streams,
        clock=clock,
        waiting=desk.waiting,
    )
    principals = services.principals(ROUTE)
    records, handles = services.identity_records(), Handles(key)
    ceremonies = Ceremonies(key, clock, LocalOnce(clock))
    login = LoginPages(
        doors,
        pages,
        parts.logins,
        Links(
            services.authority, services.once, records, clock, services.tokens.operator_ttl_seconds
        ),
        PasskeyLogins(parts.passkeys, handles, clock, ceremonies),
        principals,
        clock,
        passkeys_required=settings.passkeys == "required",
    )
    keeping = PasskeyKeeping(parts.passkeys, handles, principals, records, clock, ceremonies)
    approving, activity = services.approvals(ROUTE), services.activity()
    return [
        *inbox.routes(doors, pages, desk, approving),
        *approval.routes(doors, pages, desk, approving),
        *live.routes(doors, pages, activity, services.watching()),
        *decisions.routes(doors, pages, activity),
        *agents.routes(doors, pages, activity, principals, services.kills(ROUTE)),
        *sessions.routes(
            doors, pages, activity, Closing(services.sessions, services.records(), ROUTE)
        ),
        *login.routes(),
        *AccountPages(doors, pages, keeping).routes(),
        assets.route(),
        doors.unknown(),
    ]
