"""Whose account was connected: the ID token that came with a code (OpenID Connect Core 3.1.3.7)."""

from __future__ import annotations

import hmac
from typing import Final

from portcullis.core.errors import Problem
from portcullis.execution.oauth.client import OauthClient
from portcullis.identity import jws
from portcullis.identity.foreign import MAX_TOKEN, ForeignClaims, Rules, read
from portcullis.identity.keyset import KeySet, KeysUnavailableError, parse

_CODE: Final = "PC5083"
_ALGORITHMS: Final = frozenset({"RS256", "ES256", "EdDSA", "PS256"})
_SKEW: Final = 5.0
_LONGEST: Final = 255


class _Claims(ForeignClaims, frozen=True, kw_only=True):
    sub: str
    nonce: str = ""
    azp: str | None = None


class _Published:
    """A ``KeySource`` over what the server publishes now."""

    def __init__(self, client: OauthClient, url: str) -> None:
        self._client = client
        self._url = url

    async def keys(self, kid: str | None) -> KeySet:
        """The set that is there, asked for once."""
        del kid
        try:
            return parse(await self._client.document(self._url))
        except Problem as problem:
            raise KeysUnavailableError(problem.detail) from None
        except ValueError as error:
            raise KeysUnavailableError(str(error)) from None


async def account_of(client: OauthClient, token: str, nonce: str, now: float) -> str:
    """The ``sub`` of a token that answers the question with this nonce. Raises Problem PC5083."""
    server = await client.server()
    if not token or not server.jwks_uri:
        raise Problem(_CODE, "the scope openid was asked for, and no ID token can be verified")
    parts = jws.split(token, code=_CODE, most=MAX_TOKEN)
    rules = Rules(
        code=_CODE,
        issuer=server.issuer,
        audience=client.settings.client_id,
        algorithms=_ALGORITHMS,
        skew=_SKEW,
    )
    await rules.hold(parts, _Published(client, server.jwks_uri), now)
    claims = read(parts.payload, _Claims, code=_CODE)
    if not hmac.compare_digest(claims.nonce.encode(), nonce.encode()):
        raise Problem(_CODE, "the ID token answers another question: its nonce is not ours")
    if claims.azp not in {None, client.settings.client_id}:
        raise Problem(_CODE, "the ID token was made for another client")
    if not 0 < len(claims.sub) <= _LONGEST:
        raise Problem(_CODE, f"sub is not 1 to {_LONGEST} characters")
    return claims.sub
