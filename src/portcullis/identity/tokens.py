"""Our own tokens: JWTs (RFC 7519) signed with Ed25519 (RFC 8037), short-lived, one issuer.

There are two kinds. An *access token* (RFC 9068) is what an agent or application shows; it is
bound to the key of its certificate or of its DPoP proofs, and worth nothing without that key. A
*delegation* names the agent that may act by it, and is worth nothing without that agent. Tokens
bound to no key are operators', and others' only where ``tokens.bearer`` is ``loopback``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from portcullis.core.credential import Peer, Presented
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock, Once
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.spiffe import SpiffeId
from portcullis.identity import dpop, jws
from portcullis.identity.claims import Actor, Claims, Confirmation, Grant
from portcullis.identity.keys import thumbprint
from portcullis.identity.once import Later, LocalOnce
from portcullis.wire.json import decode, encode

__all__ = [
    "AUDIENCE",
    "CONSOLE",
    "LINK",
    "Actor",
    "Claims",
    "Confirmation",
    "Grant",
    "Minted",
    "TokenAuthority",
]

AUDIENCE: Final = "portcullis"
CONSOLE: Final = "portcullis-console"
"""The audience of what the console keeps in browsers: no API takes such a token."""
LINK: Final = "portcullis-link"
"""The audience of what is in a one-time link: good for its exchange, and for nothing else."""
MAX_TOKEN: Final = 4096
"""Longest token that is looked at, in characters; ours have some 500."""
NO_TOKEN: Final = frozenset({"", "spiffe"})
"""What stands for no token: some SDKs insist on sending a key."""

_ACCESS: Final = "at+jwt"
_DELEGATION: Final = "delegation+jwt"
_claims = msgspec.json.Decoder(Claims)


_WORKLOADS: Final = frozenset({PrincipalKind.AGENT, PrincipalKind.APPLICATION})


class Minted(msgspec.Struct, frozen=True, kw_only=True):
    """A new token. ``id`` is its ``jti``, which may stand in the log; the token may not."""

    token: str
    id: str
    expires_at: float


class _Verified(msgspec.Struct, frozen=True):
    """What is remembered of a token: nothing that depends on the request that it came in."""

    principal: Principal
    binding: Confirmation | None
    delegation: bool
    audience: str


class TokenAuthority:
    """Mints and verifies tokens of one trust domain. An adapter of ``core.ports.Authenticator``.

    ``new_id`` gives a token's ``jti``: 32 hex digits that never repeat, the first 12 of them the
    time in milliseconds. ``named`` says which principal an SVID of a federated trust domain
    stands for, ``registered`` whether there is an agent or application of ours of this name.
    ``bearer`` lets agents and applications use tokens bound to no key where nobody shows
    certificates; those listeners are on loopback. ``skew`` is how many seconds another's clock
    may be ahead. At most ``cache_size`` verified tokens are remembered, by SHA-256, until they
    expire; refusals are not.
    """

    def __init__(
        self,
        key: Ed25519PrivateKey,
        *,
        trust_domain: str,
        clock: Clock,
        new_id: Callable[[], str],
        once: Once | None = None,
        named: Callable[[str], tuple[PrincipalKind, str] | None] = lambda _: None,
        registered: Callable[[PrincipalKind, str], bool] = lambda *_: True,
        bearer: bool = False,
        skew: float = 5,
        cache_size: int = 4096,
    ) -> None:
        self._key = key
        self._public = key.public_key()
        self._trust_domain = trust_domain
        self._clock = clock
        self._new_id = new_id
        self._named = named
        self._registered = registered
        self._bearer = bearer
        self._skew = skew
        self._once = LocalOnce(clock) if once is None else once
        self._cache_size = cache_size
        self._kid = thumbprint(self._public)
        self._access = self._head(_ACCESS)
        self._delegation = self._head(_DELEGATION)
        self._cache: dict[bytes, _Verified] = {}

    def mint(
        self,
        kind: PrincipalKind,
        principal_id: str,
        *,
        ttl: int,
        roles: tuple[str, ...] = (),
        session: str | None = None,
        auth_time: int | None = None,
        audience: str = AUDIENCE,
        break_glass: str = "",
    ) -> Minted:
        """A new token for ``ttl`` seconds, bound to no key. See ``issue``."""
        now = int(self._clock.now())
        name = f"{kind}:{principal_id}"
        grant = Grant(
            sub=name,
            client_id=name,
            auth_time=now if auth_time is None else auth_time,
            sid=session,
            roles=roles,
            glass=break_glass,
        )
        return self.issue(grant, expires_at=now + ttl, audience=audience)

    def issue(self, grant: Grant, *, expires_at: int, audience: str = AUDIENCE) -> Minted:
        """A new token. Whether its holder exists and may have this is the caller's to know.

        Raises the Problems of ``Claims.principal``, and PC2050 when it would be too long.
        """
        now = int(self._clock.now())
        claims = Claims(
            iss=self._trust_domain,
            aud=audience,
            jti=self._new_id(),
            iat=now,
            nbf=now,
            exp=expires_at,
            **msgspec.structs.asdict(grant),
        )
        claims.principal()
        head = self._access if claims.may_act is None else self._delegation
        signed = head + jws.encoded(encode(claims))
        token = f"{signed}.{jws.encoded(self._key.sign(signed.encode()))}"
        if len(token) > MAX_TOKEN:
            raise Problem("PC2050", f"the token would be longer than {MAX_TOKEN} characters")
        return Minted(token=token, id=claims.jti, expires_at=claims.exp)

    def authenticate(
        self, presented: Presented, audience: str = AUDIENCE, *, spend: bool = True
    ) -> Principal:
        """Who makes a request, by its token for ``audience``, by its certificate, or by both.

        Unless ``spend``, the proof is not used up.

        Raises Problem PC2001 (nothing is shown), PC2020 (a certificate was promised), PC2022
        (it has expired), PC2007 (it stands for nobody), those of ``verify``, and when the token
        is not the caller's: PC2040, PC2041, PC2042 to PC2048 (``dpop.verify``), PC2049, PC2051,
        PC2005 (token and certificate name two principals). The Problem names what was refused.
        """
        try:
            return self._authenticated(presented, audience, spend=spend)
        except Problem as problem:
            problem.credential = self._fingerprint(presented)
            raise

    async def authenticated(self, presented: Presented, audience: str = AUDIENCE) -> Principal:
        """The same, and spends the proof last; it blocks nobody. See Authenticator."""
        once = Later(self._once)
        try:
            principal = self._authenticated(presented, audience, spend=True, once=once)
            if not await once.all():
                raise dpop.used()
        except Problem as problem:
            problem.credential = self._fingerprint(presented)
            raise
        return principal

    def _authenticated(
        self, presented: Presented, audience: str, *, spend: bool, once: Once | None = None
    ) -> Principal:
        token, peer = presented.token, presented.peer
        now = self._clock.now()
        holder = None if peer is None else self._holder(peer, now)
        if token in NO_TOKEN:
            if peer is None or holder is None:
                raise _nothing(token)
            if holder[0] in _WORKLOADS and not self._registered(*holder):
                raise Problem("PC2007", "no principal of this name is registered")
            return Principal(
                kind=holder[0],
                id=holder[1],
                credential=f"svid:{peer.serial}",
                expires_at=peer.expires_at,
                svid=peer.serial,
                issued_at=peer.issued_at,
            )
        known = self._known(token, now, audience)
        binding, principal = known.binding, known.principal
        if binding is None:
            self._unbound(known, presented)
        elif binding.jkt is not None and presented.dpop:
            self._proof(presented, token, binding.jkt, now, spend=spend, once=once)
        else:
            hold(binding, peer, None)
        if peer is None:
            return principal
        if holder != (principal.kind, principal.id):
            if known.delegation:
                raise Problem("PC2051", "the delegation names another agent")
            raise Problem("PC2005", "token and certificate name two principals")
        return msgspec.structs.replace(principal, svid=peer.serial)

    def stands_for(self, spiffe_id: SpiffeId) -> tuple[PrincipalKind, str]:
        """Which principal a workload is, ours or of a federated domain. Raises Problem PC2007."""
        ours = spiffe_id.trust_domain == self._trust_domain
        found = spiffe_id.principal() if ours else self._named(str(spiffe_id))
        if found is None:
            raise Problem("PC2007", "no principal is registered for this SPIFFE ID")
        return found

    def wrote(self, token: str) -> bool:
        """Whether a token begins as ours do; nothing in it is verified."""
        return token.startswith((self._access, self._delegation))

    def proof(self, presented: Presented) -> str:
        """The thumbprint of the key in a proof made for the token endpoint. See ``dpop.verify``."""
        return self._proof(presented, None, None, self._clock.now())

    def verify(self, token: str, audience: str = AUDIENCE) -> Claims:
        """The claims of a token of ours, all checked but its binding.

        Raises Problem PC2002 (malformed), PC2030 (algorithm), PC2031 (key or signature), PC2035
        (of a kind that is not ours), PC2033 (issuer), PC2032 (audience), PC2034 (not valid yet),
        PC2003 (expired), PC2052 (delegation malformed).
        """
        if len(token) > MAX_TOKEN or not token.isascii():
            raise Problem("PC2002", f"not a token of at most {MAX_TOKEN} characters")
        if not self.wrote(token):
            raise self._misfit(token)  # no other algorithm, key, type or extension is read
        claims = self._signed(token)
        if claims.iss != self._trust_domain:
            raise Problem("PC2033", "the token is of another trust domain")
        if claims.aud != audience:
            raise _misaddressed()
        now = self._clock.now()
        if now + self._skew < claims.nbf:
            raise Problem("PC2034", "the token is not valid yet")
        if now >= claims.exp:
            raise Problem("PC2003", "the token has expired")
        return claims

    def _signed(self, token: str) -> Claims:
        signed, _, signature = token.rpartition(".")
        payload = signed.partition(".")[2]
        try:
            self._public.verify(jws.decoded(signature), signed.encode())
            claims = _claims.decode(jws.decoded(payload))
        except InvalidSignature:
            raise Problem("PC2031", "the token's signature is wrong") from None
        except (ValueError, msgspec.DecodeError):
            raise Problem("PC2002", "the token is not in our form") from None
        claims.principal()
        if (claims.may_act is not None) != token.startswith(self._delegation):
            raise Problem("PC2035", "the token says that it is of another kind than it is")
        return claims

    def _known(self, token: str, now: float, audience: str) -> _Verified:
        if len(token) > MAX_TOKEN:
            raise Problem("PC2002", f"not a token of at most {MAX_TOKEN} characters")
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        known = self._cache.get(digest)
        if known is not None:
            if now < known.principal.expires_at:
                if known.audience != audience:
                    raise _misaddressed()
                return known
            del self._cache[digest]
        claims = self.verify(token, audience)
        known = _Verified(claims.principal(), claims.cnf, claims.may_act is not None, audience)
        if len(self._cache) >= self._cache_size:
            del self._cache[next(iter(self._cache))]
        self._cache[digest] = known
        return known

    def _fingerprint(self, presented: Presented) -> str:
        """How a refused credential stands in the log: its id when it is known to be ours."""
        token, peer = presented.token, presented.peer
        if token in NO_TOKEN:
            return "" if peer is None else f"svid:{peer.serial}"
        known = self._cache.get(hashlib.sha256(token.encode("utf-8", "replace")).digest())
        return fingerprint(token) if known is None else known.principal.credential

    def _holder(self, peer: Peer, now: float) -> tuple[PrincipalKind, str]:
        """Which principal a certificate stands for, on a connection that may be older than it."""
        if now >= peer.expires_at:
            raise Problem("PC2022", "the certificate of this connection has expired")
        return self.stands_for(peer.id)

    def _unbound(self, known: _Verified, presented: Presented) -> None:
        """A token bound to no key: where it may be used all the same."""
        if presented.local or (presented.peer is not None and known.delegation):
            return
        operator = known.principal.kind is PrincipalKind.OPERATOR
        if presented.peer is not None or not (self._bearer or operator):
            raise Problem("PC2049", "the token is bound to no key and proves nothing here")

    def _proof(
        self,
        presented: Presented,
        token: str | None,
        jkt: str | None,
        now: float,
        *,
        spend: bool = True,
        once: Once | None = None,
    ) -> str:
        return dpop.verify(
            presented.dpop,
            method=presented.method,
            url=presented.url,
            token=token,
            now=now,
            once=once or self._once,
            spend=spend,
            skew=self._skew,
            jkt=jkt,
        )

    def _head(self, kind: str) -> str:
        return jws.encoded(encode({"alg": "EdDSA", "kid": self._kid, "typ": kind})) + "."

    def _misfit(self, token: str) -> Problem:
        """Why a header is not one that we write: for the reader, nothing is decided by it."""
        try:
            header = decode(jws.decoded(token.partition(".")[0]), max_depth=jws.MAX_DEPTH)
        except (Problem, ValueError):
            header = None
        if not isinstance(header, dict):
            return Problem("PC2002", "the token is malformed")
        algorithm = str(header.get("alg"))
        if algorithm.lower() == "none" or algorithm.startswith("HS"):
            return Problem("PC2030", "the token is not signed with a private key")
        if header.get("typ") not in (_ACCESS, _DELEGATION):
            return Problem("PC2035", "the token is neither an access token nor a delegation")
        if algorithm != "EdDSA":
            return Problem("PC2030", "our tokens are signed with Ed25519")
        return Problem("PC2031", "the token names another key than ours")


def fingerprint(token: str) -> str:
    """How a token that is not known to be ours stands in the log."""
    return "sha256:" + hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def hold(binding: Confirmation, peer: Peer | None, jkt: str | None) -> None:
    """Hold a token's binding against the certificate and the DPoP key that its bearer has shown.

    Raises Problem PC2040 (no key shown), PC2041 (another certificate) or PC2047 (another key).
    """
    if binding.x5t is not None:
        if peer is None:
            raise Problem("PC2040", "the token is bound to a certificate, and none is shown")
        if binding.x5t != peer.thumbprint:
            raise Problem("PC2041", "the token is bound to another certificate")
    elif jkt is None:
        raise Problem("PC2040", "the token is bound to a DPoP key, and no proof is shown")
    elif jkt != binding.jkt:
        raise Problem("PC2047", "the token is bound to another key")


def _misaddressed() -> Problem:
    return Problem("PC2032", "the token is for another audience")


def _nothing(token: str) -> Problem:
    if token:
        return Problem("PC2020", "the certificate is to be the credential, and none is shown")
    return Problem("PC2001", "the request carries no credential")
