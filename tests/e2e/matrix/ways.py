"""How requests reach the gate: at which listener, under which certificate, with which proof."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2

import standins
from e2e.matrix.seen import Seen, code_in
from holders import Holder
from portcullis.wire.certificates import load_identity, pem

if TYPE_CHECKING:
    from e2e.matrix.deployment import Deployment
    from e2e.matrix.guarded import GuardRoute
    from e2e.matrix.routes import McpRoute, ModelRoute

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type's name
ALONE = "spiffe"
"""In place of a token: the certificate is the credential."""
JWT = "urn:ietf:params:oauth:token-type:jwt"


class Dpop(httpx2.Auth):
    """Shows a request's token with a proof (RFC 9449) by ``holder``; ``again``, always the same."""

    def __init__(self, holder: Holder, *, again: bool = False) -> None:
        self._holder = holder
        self._again = again
        self._proof = ""

    def auth_flow(self, request: httpx2.Request) -> Iterator[httpx2.Request]:
        sent = request.headers
        token = sent.get("x-api-key") or sent.get("authorization", "").partition(" ")[2] or None
        if not (self._again and self._proof):
            self._proof = self._holder.proof(request.method, str(request.url), time.time(), token)
        sent["dpop"] = self._proof
        if token:
            sent["authorization"] = f"DPoP {token}"
        yield request


@dataclass(frozen=True)
class Way:
    """``url`` is a listener's; ``tls`` what is shown and trusted there, ``auth`` what is added."""

    url: str
    tls: ssl.SSLContext | bool = True
    auth: httpx2.Auth | None = None

    def http(self, **options: Any) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(verify=self.tls, auth=self.auth, timeout=30, **options)

    async def token(self, **form: str) -> str:
        """What ``POST /v1/token`` issues; ``Refused`` with its code when it issues nothing."""
        if "subject_token" in form:
            form = {"grant_type": EXCHANGE, "subject_token_type": ACCESS_TOKEN} | form
        else:
            form = {"grant_type": "client_credentials"} | form
        async with self.http() as http:
            answer = await http.post(f"{self.url}/v1/token", data=form)
        if answer.status_code != 200:
            raise Refused(code_in(answer.text))
        return answer.json()["access_token"]


class Refused(Exception):  # noqa: N818 - it says what happened
    """The token endpoint issued nothing; the one argument is the code."""


def certified(deployment: Deployment, shown: tuple[tuple[bytes, ...], bytes] | None = None) -> Way:
    """The mTLS listener, with a certificate (its chain and key), or without any."""
    domain = deployment.stage.gate.domain
    tls = ssl.create_default_context(cadata=pem(domain.authority.bundle().x509))
    if shown is not None:
        load_identity(tls, *shown)
    return Way(deployment.stage.gate.mtls_url, tls)


async def tried(work: Any) -> Seen:
    """What a client saw of the token endpoint, when a refusal is as good an answer as a token."""
    try:
        return Seen(text=await work)
    except Refused as refused:
        return Seen(code=refused.args[0], failed=True)


async def delegated(
    route: ModelRoute | McpRoute | GuardRoute,
    deployment: Deployment,
    *,
    of: str,
    to: str = standins.AGENT,
    session: str = "",
) -> str:
    """A delegation of an agent for another, who shows its own SVID where that can be shown.

    With the token of a ``session``, it acts in that.
    """
    way = certified(deployment, deployment.svid(of))
    domain = deployment.stage.gate.domain.authority.trust_domain
    audience = f"spiffe://{domain}/agent/{to}"
    own = await (way.token(subject_token=session) if session else way.token())
    given = await way.token(subject_token=own, audience=audience)
    if route.name != "mcp-stdio":
        route.way = certified(deployment, deployment.svid(to))
    return given


def mortal(route: ModelRoute | McpRoute | GuardRoute) -> str:
    """The agent of ``deployment.MORTAL`` that this case has for itself."""
    return "-".join(filter(None, ("mortal", route.name, getattr(route, "api", ""))))
