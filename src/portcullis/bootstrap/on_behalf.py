"""Calls on behalf of users: the OAuth clients of upstreams, and what users granted to them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

from sqlalchemy import Engine

from portcullis.audit.keys import DIGESTS, shared_subjects
from portcullis.bootstrap.presence import GATE_FILE, found_in
from portcullis.bootstrap.secret_sources import used_by
from portcullis.config import Config, UpstreamOauth
from portcullis.control.connecting import Connecting, ConnectParts
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.core.grants import Grant
from portcullis.core.ports import Sealer, SecretSource
from portcullis.execution.endpoint import Endpoint, endpoints
from portcullis.execution.http import HttpForwarder
from portcullis.execution.oauth.client import OauthClient
from portcullis.execution.oauth.servers import Servers
from portcullis.execution.oauth.tokens import OauthTokens
from portcullis.execution.oauth.web import Web
from portcullis.execution.secrets.broker import SecretBroker
from portcullis.execution.tls import Tls, WebTls
from portcullis.identity.keymanager import KEYS
from portcullis.store.user_grants import SqlGrants, granted


@dataclass(frozen=True, slots=True)
class OnBehalf:
    """What gets tokens for calls, and what the APIs and the console need of it.

    ``connecting`` makes the service under a name of its own in the records; ``where`` is the page
    of an upstream, for a link's code when one is given.
    """

    tokens: OauthTokens
    connecting: Callable[[str], Connecting]
    where: Callable[[str, str], str]


def upstreams_of(config: Config) -> dict[str, tuple[UpstreamOauth, str]]:
    """The upstreams that take tokens, with their addresses.

    Raises Problem PC7001 for a name that is one of both sections, and for a mode without the
    console that its users come to.
    """
    found = {
        name: (one.oauth, one.url) for name, one in config.models.items() if one.oauth is not None
    }
    for name, server in config.mcp.items():
        if server.oauth is None or server.url is None:
            continue
        if name in found:
            detail = f"{name} under models and under mcp: with oauth, names are of one upstream"
            raise Problem("PC7001", detail)
        found[name] = (server.oauth, server.url)
    users = [name for name, (oauth, _) in found.items() if oauth.mode == "user"]
    if users and not config.console.enabled:
        raise Problem("PC7001", f"oauth of {users[0]}: users connect accounts in the console")
    return found


def grants_of(
    stack: contextlib.ExitStack | contextlib.AsyncExitStack,
    config: Config,
    engine: Engine,
    sealer: Sealer,
) -> SqlGrants | None:
    """Where users' grants are; None where no upstream takes any, and none is left.

    Those of an upstream that is no more can be seen and ended. The stack closes it.
    """
    if not upstreams_of(config) and not granted(engine):
        return None
    keys = shared_subjects(config.state / KEYS / DIGESTS, sealer)
    stack.callback(keys.close)
    return SqlGrants(engine, keys, sealer)


@contextlib.contextmanager
def acting(
    config: Config, services: Services, secrets: SecretSource | SecretBroker
) -> Iterator[OnBehalf | None]:
    """The parts until the block ends; None where no upstream takes tokens and no grant is left."""
    upstreams, grants = upstreams_of(config), services.grants
    if grants is None:
        yield None
        return
    web = Web(WebTls())
    clients = {
        name: OauthClient(
            *(oauth, url),
            servers=Servers(oauth, url, web, services.clock),
            web=web,
            secrets=used_by(secrets, name),
        )
        for name, (oauth, url) in upstreams.items()
    }
    page = partial(page_of, config)

    def connecting(route: str) -> Connecting:
        parts = ConnectParts(clients, grants, config.identity.oidc, tokens.forget)
        return Connecting(parts, services.records(), services.clock, services.new_id, route)

    async def told(grant: Grant, error: str) -> None:
        await connecting("gate").lost(grant, error)

    tokens = OauthTokens(
        clients, grants, services.clock, lost=told, connect=lambda name: page(name, "")
    )
    try:
        yield OnBehalf(tokens, connecting, page)
    finally:
        web.close()


def forwarding(
    stack: contextlib.AsyncExitStack,
    config: Config,
    services: Services,
    secrets: SecretSource | SecretBroker,
    tls: Callable[[Endpoint], Tls] | None,
) -> tuple[OnBehalf | None, HttpForwarder]:
    """What forwards calls to upstreams, with the tokens of those they are made for.

    The stack closes both. ``tls`` verifies the upstreams.
    """
    found = stack.enter_context(acting(config, services, secrets))
    forwarder = HttpForwarder(
        endpoints(config),
        secrets=secrets,
        limits=config.limits,
        tls=tls,
        tokens=None if found is None else found.tokens,
    )
    stack.push_async_callback(forwarder.close)
    return found, forwarder


def page_of(config: Config, upstream: str, code: str) -> str:
    """The page on which an account is connected, as browsers reach it."""
    origin = config.console.origin
    if origin is None:
        running = found_in(config.state / GATE_FILE)
        origin = running.control if running else f"http://{config.listen.control}"
    return f"{origin}/connect/{upstream}" + (f"?{urlencode({'once': code})}" if code else "")
