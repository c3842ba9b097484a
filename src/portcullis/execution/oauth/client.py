"""One upstream's OAuth client: what is asked of its authorization server, and what it answers.

RFC 6749 (authorization code, refresh token, client credentials), RFC 7636 (S256 and nothing else),
RFC 8707 (resource), RFC 8693 (token exchange), RFC 7009 (revocation).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from portcullis.config import UpstreamOauth
from portcullis.core.errors import Problem
from portcullis.core.ports import SecretSource
from portcullis.core.secret import Secret
from portcullis.execution.oauth.servers import S256, Server, Servers
from portcullis.execution.oauth.web import Web

_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - its name
_ID_TOKEN: Final = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - its name
_ERROR: Final = re.compile(r"[a-z_]{1,64}")
_TOKEN: Final = re.compile(r"[\x21-\x7e]{8,16384}")
_BRIEF_SECONDS: Final = 60.0
"""How long a token is good whose server does not say."""


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """What a token endpoint gave. ``seconds`` is how long ``access`` is good."""

    access: Secret
    seconds: float
    refresh: Secret | None = None
    id_token: str = ""
    scope: str = ""

    def __repr__(self) -> str:
        """Never a token."""
        return "Tokens(...)"


class RefusedError(Problem):
    """The authorization server said no: ``error`` is its word for why (RFC 6749 section 5.2)."""

    def __init__(self, error: str) -> None:
        """Take the server's word, which has no content of ours in it."""
        super().__init__("PC5081", f"it answered {error}")
        self.error = error


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    access_token: str
    token_type: str
    expires_in: float | None = None
    refresh_token: str = ""
    id_token: str = ""
    scope: str = ""


class _Fault(msgspec.Struct, frozen=True, kw_only=True):
    error: str


class OauthClient:
    """Asks for tokens for the upstream at ``url``.

    Every question raises Problem PC5081 (a RefusedError) when the server refuses, PC5082 and PC5083
    as ``Servers`` does, PC5007 when our own secret cannot be read.
    """

    def __init__(
        self,
        settings: UpstreamOauth,
        url: str,
        *,
        servers: Servers,
        web: Web,
        secrets: SecretSource,
    ) -> None:
        self.settings = settings
        self._resource = "" if settings.resource is False else str(settings.resource or url)
        self._servers = servers
        self._web = web
        self._secrets = secrets

    async def server(self) -> Server:
        """The authorization server."""
        return await self._servers.find()

    async def document(self, url: str) -> bytes:
        """A public document of the server's."""
        return await self._web.get(url)

    async def authorization(self, state: str, verifier: str, nonce: str, redirect: str) -> str:
        """Where the user's browser goes, to allow that we act for him."""
        server, settings = await self.server(), self.settings
        challenge = hashlib.sha256(verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": settings.client_id,
            "redirect_uri": redirect,
            "scope": " ".join(settings.scopes),
            "state": state,
            "code_challenge": base64.urlsafe_b64encode(challenge).decode().rstrip("="),
            "code_challenge_method": S256,
            "resource": self._resource,
        }
        if "openid" in settings.scopes:
            asked["nonce"] = nonce
        if "offline_access" in settings.scopes:  # OpenID Connect Core section 11
            asked["prompt"] = "consent"
        query = urlencode({name: value for name, value in asked.items() if value})
        mark = "&" if "?" in server.authorization_endpoint else "?"
        return f"{server.authorization_endpoint}{mark}{query}"

    async def redeem(self, code: str, verifier: str, redirect: str) -> Tokens:
        """The tokens for a code."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect}
        return await self._ask(form | {"code_verifier": verifier})

    async def refresh(self, token: Secret) -> Tokens:
        """New tokens for a refresh token, which may have changed with that."""
        return await self._ask({"grant_type": "refresh_token", "refresh_token": token.reveal()})

    async def exchange(self, id_token: Secret) -> Tokens:
        """A token for the user whom an ID token is about."""
        return await self._ask(
            {
                "grant_type": _EXCHANGE,
                "subject_token": id_token.reveal(),
                "subject_token_type": _ID_TOKEN,
                "requested_token_type": _ACCESS_TOKEN,
                "scope": " ".join(self.settings.scopes),
            }
        )

    async def own(self) -> Tokens:
        """A token for the gate itself."""
        scope = " ".join(self.settings.scopes)
        return await self._ask({"grant_type": "client_credentials", "scope": scope})

    async def revoke(self, token: Secret, issuer: str) -> bool:
        """Have the server forget a refresh token and what came of it; False where it cannot.

        It is not told of a token that another ``issuer`` made.
        """
        server = await self.server()
        if not server.revocation_endpoint or server.issuer != issuer:
            return False
        form = {"token": token.reveal(), "token_type_hint": "refresh_token"}
        shown, line = await self._shown(server)
        status, _ = await self._web.post(server.revocation_endpoint, form | shown, line)
        if status != 200:  # noqa: PLR2004 - RFC 7009 section 2.2
            raise Problem("PC5082", f"revocation was answered with status {status}")
        return True

    async def _ask(self, form: Mapping[str, str]) -> Tokens:
        server = await self.server()
        said = {name: value for name, value in form.items() if value}
        if self._resource:
            said["resource"] = self._resource
        shown, line = await self._shown(server)
        status, body = await self._web.post(server.token_endpoint, said | shown, line)
        if status != 200:  # noqa: PLR2004 - RFC 6749 section 5.1
            raise _refused(status, body)
        return _tokens(body)

    async def _shown(self, server: Server) -> tuple[dict[str, str], str]:
        """How we show who we are: in the form, or in a header (RFC 6749 section 2.3.1)."""
        settings = self.settings
        if settings.client_secret is None:
            return {"client_id": settings.client_id}, ""
        found = await asyncio.to_thread(self._secrets.resolve, settings.client_secret)
        secret = found.reveal()
        if not server.basic:
            return {"client_id": settings.client_id, "client_secret": secret}, ""
        pair = f"{quote(settings.client_id, safe='')}:{quote(secret, safe='')}"
        return {}, "Basic " + base64.b64encode(pair.encode()).decode()


def _tokens(body: bytes) -> Tokens:
    try:
        found = msgspec.json.decode(body, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Problem("PC5083", "the token endpoint's answer is malformed") from None
    if found.token_type.lower() != "bearer":
        raise Problem("PC5083", "its tokens are of another type than Bearer")
    for token in (found.access_token, found.refresh_token):
        if token and not _TOKEN.fullmatch(token):
            raise Problem("PC5083", "a token of its has characters that no token has")
    if not found.access_token:
        raise Problem("PC5083", "the token endpoint gave no access token")
    seconds = _BRIEF_SECONDS if found.expires_in is None else max(0.0, found.expires_in)
    return Tokens(
        access=Secret(found.access_token),
        seconds=seconds,
        refresh=Secret(found.refresh_token) if found.refresh_token else None,
        id_token=found.id_token,
        scope=found.scope,
    )


def _refused(status: int, body: bytes) -> Problem:
    try:
        error = msgspec.json.decode(body, type=_Fault).error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        error = ""
    if status >= 500 or not _ERROR.fullmatch(error):  # noqa: PLR2004 - RFC 9110 section 15.6
        return Problem("PC5082", f"the token endpoint answered with status {status}")
    return RefusedError(error)
