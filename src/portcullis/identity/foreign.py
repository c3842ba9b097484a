"""Tokens that other issuers signed (RFC 7519): what every kind of them has to be."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import jwt
import msgspec

from portcullis.core.errors import Problem
from portcullis.identity import jws
from portcullis.identity.keyset import KeySource, KeysUnavailableError

MAX_TOKEN: Final = 16_384
"""Longest token that is looked at, in characters."""

_T = TypeVar("_T")


class ForeignClaims(msgspec.Struct, frozen=True, kw_only=True):
    """The claims that are checked of every such token. Times are seconds since the epoch."""

    iss: str
    aud: str | tuple[str, ...]
    exp: float
    iat: float | None = None
    nbf: float | None = None

    @property
    def audiences(self) -> tuple[str, ...]:
        """Whom it is for."""
        return (self.aud,) if isinstance(self.aud, str) else self.aud


def read(payload: dict[str, Any], claims: type[_T], *, code: str) -> _T:
    """The claims of a payload, as this type has them. Raises Problem ``code``."""
    try:
        return msgspec.convert(payload, claims)
    except msgspec.ValidationError:
        raise Problem(code, "a claim is missing or malformed") from None


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """One issuer's tokens. ``code`` is the code of every refusal; its detail names the rule.

    ``skew`` is how many seconds the issuer's clock may be ahead of ours; past its ``exp`` by our
    clock, a token is over.
    """

    code: str
    issuer: str
    audience: str
    algorithms: frozenset[str]
    skew: float

    async def hold(self, token: jws.Parts, keys: KeySource, now: float) -> None:
        """Hold a token against all rules. Raises Problem ``code`` when it breaks one."""
        algorithm = token.header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self.algorithms:
            raise self._refused("alg is not one of " + ", ".join(sorted(self.algorithms)))
        if token.header.get("typ", "JWT") != "JWT":
            raise self._refused("typ is that of another kind of token")
        await self._signed(token, algorithm, keys)
        claims = read(token.payload, ForeignClaims, code=self.code)
        if claims.iss != self.issuer:
            raise self._refused("iss is another issuer")
        if self.audience not in claims.audiences:
            raise self._refused("aud is not us")
        if now >= claims.exp:
            raise self._refused("exp has passed")
        if claims.nbf is not None and claims.nbf > now + self.skew:
            raise self._refused("nbf is yet to come")
        if claims.iat is not None and claims.iat > now + self.skew:
            raise self._refused("iat is yet to come")

    async def _signed(self, token: jws.Parts, algorithm: str, keys: KeySource) -> None:
        kid = token.header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise self._refused("kid is not a string")
        try:
            known = await keys.keys(kid)
        except KeysUnavailableError as error:
            raise self._refused(f"the issuer's keys cannot be had: {error}") from None
        if kid is None and len(known) == 1:  # OpenID Connect Core section 10.1
            kid = next(iter(known))
        key = None if kid is None else known.get(kid)
        if key is None:
            raise self._refused("kid is not one of the issuer's keys")
        if algorithm not in key.algorithms:
            raise self._refused("alg does not fit the key")
        verifier = jwt.get_algorithm_by_name(algorithm)
        try:
            good = verifier.verify(token.signed, key.key, token.signature)
        except (jwt.PyJWTError, ValueError):
            good = False
        if not good:
            raise self._refused("the signature is wrong")

    def _refused(self, rule: str) -> Problem:
        return Problem(self.code, rule)
