"""Our own tokens: JWTs (RFC 7519) signed with Ed25519 (RFC 8037), short-lived, one issuer.

A token names its holder and nothing that the holder may do, except an operator's roles and the
session that an agent acts in. It is a bearer credential: certificates and tokens bound to a key
are further adapters of ``core.ports.Authenticator``, beside this one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any, Final

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.identity.keys import thumbprint

AUDIENCE: Final = "portcullis"
MAX_TOKEN: Final = 4096
"""Longest token that is looked at, in characters; ours have some 500."""

_ALGORITHM: Final = "EdDSA"
_SUBJECT: Final = re.compile(r"(agent|application|operator):([a-z0-9][a-z0-9_-]{0,62})")


class Minted(msgspec.Struct, frozen=True, kw_only=True):
    """A new token. ``id`` is its ``jti``, which may stand in the log; the token may not."""

    token: str
    id: str
    expires_at: float


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What our tokens say; all of it is checked. Times are whole seconds since the epoch.

    ``auth_time`` is when the chain of renewals began (OpenID Connect Core section 2).
    """

    iss: str
    aud: str
    sub: str
    jti: str
    iat: int
    nbf: int
    exp: int
    auth_time: int
    sid: str | None = None
    roles: tuple[str, ...] = ()

    def principal(self) -> Principal:
        """The principal that the token stands for. ValueError for a subject not of our form."""
        match = _SUBJECT.fullmatch(self.sub)
        if match is None:
            raise ValueError(self.sub)
        kind = PrincipalKind(match[1])
        return Principal(
            kind=kind,
            id=match[2],
            credential=self.jti,
            expires_at=self.exp,
            session=self.sid,
            roles=self.roles,
        )


class TokenAuthority:
    """Mints and verifies tokens of one trust domain. An adapter of ``core.ports.Authenticator``.

    ``new_id`` gives a token's ``jti``: a string that never repeats. At most ``cache_size``
    verified tokens are remembered, by SHA-256, until they expire; refusals are not.
    """

    def __init__(
        self,
        key: Ed25519PrivateKey,
        *,
        trust_domain: str,
        clock: Clock,
        new_id: Callable[[], str],
        cache_size: int = 4096,
    ) -> None:
        self._key = key
        self._public = key.public_key()
        self._trust_domain = trust_domain
        self._clock = clock
        self._new_id = new_id
        self._cache_size = cache_size
        self._kid = thumbprint(self._public)
        self._head = jwt.encode({}, key, _ALGORITHM, {"kid": self._kid}).partition(".")[0] + "."
        self._cache: dict[bytes, Principal] = {}

    def mint(
        self,
        kind: PrincipalKind,
        principal_id: str,
        *,
        ttl: int,
        roles: tuple[str, ...] = (),
        session: str | None = None,
        auth_time: int | None = None,
    ) -> Minted:
        """A new token for ``ttl`` seconds. Whether its holder exists is the caller's to know."""
        now = int(self._clock.now())
        claims = Claims(
            iss=self._trust_domain,
            aud=AUDIENCE,
            sub=f"{kind}:{principal_id}",
            jti=self._new_id(),
            iat=now,
            nbf=now,
            exp=now + ttl,
            auth_time=now if auth_time is None else auth_time,
            sid=session,
            roles=roles,
        )
        claims.principal()
        return Minted(token=self._encode(claims), id=claims.jti, expires_at=claims.exp)

    def authenticate(self, credential: str) -> Principal:
        """The holder of a token. Raises Problem PC2002 (not ours) or PC2003 (expired)."""
        if len(credential) > MAX_TOKEN:
            raise Problem("PC2002", "the token is too long to be ours")
        digest = hashlib.sha256(credential.encode("utf-8", "replace")).digest()
        known = self._cache.get(digest)
        if known is not None and self._clock.now() < known.expires_at:
            return known
        if known is not None:
            del self._cache[digest]
        principal = self.verify(credential).principal()
        if len(self._cache) >= self._cache_size:
            del self._cache[next(iter(self._cache))]
        self._cache[digest] = principal
        return principal

    def verify(self, token: str) -> Claims:
        """A token's claims, all checked. Raises Problem PC2002 (not ours) or PC2003 (expired)."""
        if len(token) > MAX_TOKEN or not token.isascii():
            raise Problem("PC2002", "the token is malformed")
        if not token.startswith(self._head):  # no other algorithm, key, type or extension is read
            raise Problem("PC2002", "the token's header is not the one that we write")
        try:
            payload = jwt.decode(
                token,
                self._public,
                algorithms=[_ALGORITHM],
                options={  # the signature is PyJWT's to check, the claims are ours
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": False,
                    "verify_iss": False,
                    "verify_sub": False,
                    "verify_jti": False,
                },
            )
        except jwt.PyJWTError:
            raise Problem("PC2002", "the token is malformed or its signature is wrong") from None
        claims = _claims(payload)
        if claims.iss != self._trust_domain:
            raise Problem("PC2002", "the token is of another trust domain")
        if claims.aud != AUDIENCE:
            raise Problem("PC2002", "the token is for another audience")
        now = self._clock.now()
        if now < claims.nbf:
            raise Problem("PC2002", "the token is not valid yet")
        if now >= claims.exp:
            raise Problem("PC2003", "the token has expired")
        return claims

    def _encode(self, claims: Claims) -> str:
        return jwt.encode(msgspec.to_builtins(claims), self._key, _ALGORITHM, {"kid": self._kid})


def _claims(payload: Any) -> Claims:
    """Read the claims strictly: every one present, of its type, and none that we do not know."""
    try:
        claims = msgspec.convert(payload, Claims)
        claims.principal()
    except (msgspec.ValidationError, ValueError):
        raise Problem("PC2002", "the token's claims are not in our form") from None
    return claims
