"""What is known of an authorization server: RFC 8414, OpenID Connect discovery, RFC 9728."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from portcullis.config import UpstreamOauth
from portcullis.config.common import guarded, loopback
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.execution.oauth.web import Web

FRESH_SECONDS: Final = 600.0
"""For how long metadata is used without asking again."""
S256: Final = "S256"


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """An authorization server. Its addresses are https or loopback; empty is none.

    ``says_iss``: it names itself in every authorization response (RFC 9207). ``basic``: clients
    show their secret in the header and not in the form.
    """

    token_endpoint: str
    issuer: str = ""
    authorization_endpoint: str = ""
    revocation_endpoint: str = ""
    jwks_uri: str = ""
    says_iss: bool = False
    basic: bool = False


class _Metadata(msgspec.Struct, frozen=True, kw_only=True):
    issuer: str
    token_endpoint: str
    authorization_endpoint: str = ""
    revocation_endpoint: str = ""
    jwks_uri: str = ""
    authorization_response_iss_parameter_supported: bool = False
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    code_challenge_methods_supported: tuple[str, ...] = ()


class _Resource(msgspec.Struct, frozen=True, kw_only=True):
    resource: str
    authorization_servers: tuple[str, ...] = ()


class Servers:
    """Finds the server of an upstream at ``url`` and remembers it for ``FRESH_SECONDS``.

    ``find`` raises Problem PC5082 when nothing can be asked, PC5083 when what is found is not what
    it has to be: of another issuer, without PKCE, with an address that others could read, or one
    on this machine that a server elsewhere names.
    """

    def __init__(self, settings: UpstreamOauth, url: str, web: Web, clock: Clock) -> None:
        self._settings = settings
        self._url = url
        self._web = web
        self._clock = clock
        self._found: Server | None = None
        self._at = 0.0
        self._asking = asyncio.Lock()

    async def find(self) -> Server:
        """The server as it is now, or was a little while ago."""
        async with self._asking:
            now = self._clock.monotonic()
            if self._found is None or now - self._at >= FRESH_SECONDS:
                self._found, self._at = await self._look(), now
            return self._found

    async def _look(self) -> Server:
        settings = self._settings
        if settings.token_endpoint is not None:
            return Server(
                issuer=settings.issuer or "",
                token_endpoint=settings.token_endpoint,
                authorization_endpoint=settings.authorization_endpoint or "",
                revocation_endpoint=settings.revocation_endpoint or "",
                basic=True,
            )
        found = await self._metadata(settings.issuer or await self._named())
        if settings.mode == "user":
            if not found.authorization_endpoint:
                raise Problem("PC5083", f"{found.issuer} has no authorization endpoint")
            if S256 not in found.code_challenge_methods_supported:
                raise Problem("PC5083", f"{found.issuer} does not say that it knows PKCE with S256")
        methods = found.token_endpoint_auth_methods_supported
        server = Server(
            issuer=found.issuer,
            token_endpoint=found.token_endpoint,
            authorization_endpoint=found.authorization_endpoint,
            revocation_endpoint=found.revocation_endpoint,
            jwks_uri=found.jwks_uri,
            says_iss=found.authorization_response_iss_parameter_supported,
            basic="client_secret_basic" in methods or "client_secret_post" not in methods,
        )
        for address in (
            *(server.token_endpoint, server.authorization_endpoint),
            *(server.revocation_endpoint, server.jwks_uri),
        ):
            if address:
                _held(address, of=server.issuer)
        return server

    async def _metadata(self, issuer: str) -> _Metadata:
        """RFC 8414 section 3.1, then OpenID Connect Discovery section 4."""
        problem = Problem("PC5082", f"{issuer} has no metadata")
        for url in _well_known(issuer):
            try:
                body = await self._web.get(url)
            except Problem as missing:
                problem = missing
                continue
            try:
                found = msgspec.json.decode(body, type=_Metadata)
            except msgspec.MsgspecError:
                raise Problem("PC5083", f"the metadata of {issuer} is malformed") from None
            if found.issuer != issuer:  # RFC 8414 section 3.3
                raise Problem("PC5083", f"the metadata of {issuer} is of another issuer")
            return found
        raise problem

    async def _named(self) -> str:
        """The issuer that the upstream's own metadata names (RFC 9728 sections 3.1 and 3.3)."""
        parts = urlsplit(self._url)
        path = f"/.well-known/oauth-protected-resource{parts.path.rstrip('/')}"
        body = await self._web.get(urlunsplit((parts.scheme, parts.netloc, path, "", "")))
        try:
            found = msgspec.json.decode(body, type=_Resource)
        except msgspec.MsgspecError:
            raise Problem("PC5083", "the upstream's resource metadata is malformed") from None
        if found.resource.rstrip("/") != self._url.rstrip("/"):
            raise Problem("PC5083", "the upstream's resource metadata is of another resource")
        if not found.authorization_servers:
            raise Problem("PC5083", "the upstream names no authorization server")
        return _held(found.authorization_servers[0], of=self._url)


def _well_known(issuer: str) -> Iterator[str]:
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    for kind in ("oauth-authorization-server", "openid-configuration"):
        where = f"/.well-known/{kind}{path}"
        yield urlunsplit((parts.scheme, parts.netloc, where, "", ""))
    if path:
        where = f"{path}/.well-known/openid-configuration"
        yield urlunsplit((parts.scheme, parts.netloc, where, "", ""))


def _held(url: str, *, of: str) -> str:
    """An address that the metadata of another names: what is elsewhere sends us to nothing here."""
    try:
        guarded(url)
        here = loopback(url) and not loopback(of)
    except ValueError:
        raise Problem("PC5083", "its metadata names an address without TLS") from None
    if here:
        raise Problem("PC5083", "its metadata names an address on this machine")
    return url
