"""Those who hold keys, for tests: DPoP provers, certificates' peers, issuers of JWT-SVIDs."""

import base64
import hashlib
import secrets

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from portcullis.core.credential import Peer
from portcullis.core.spiffe import parse
from portcullis.identity.bundle import Bundle
from portcullis.identity.trust import Trust


def base64url(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Holder:
    """Holds a DPoP key and makes proofs, good ones unless told otherwise."""

    def __init__(self, algorithm="ES256"):
        self.algorithm = algorithm
        if algorithm == "ES256":
            self.key = ec.generate_private_key(ec.SECP256R1())
            self.jwk = ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        else:
            self.key = Ed25519PrivateKey.generate()
            self.jwk = OKPAlgorithm.to_jwk(self.key.public_key(), as_dict=True)

    @property
    def jkt(self):
        """RFC 7638, by another way than the program's."""
        names = ("crv", "kty", "x", "y") if "y" in self.jwk else ("crv", "kty", "x")
        text = ",".join(f'"{name}":"{self.jwk[name]}"' for name in names)
        return base64url(hashlib.sha256(f"{{{text}}}".encode()).digest())

    def proof(self, method, url, now, token=None, *, header=None, key=None, **claims):
        said = {"jti": secrets.token_hex(8), "htm": method, "htu": url, "iat": int(now)}
        if token is not None:
            said["ath"] = base64url(hashlib.sha256(token.encode()).digest())
        said = {name: value for name, value in (said | claims).items() if value is not None}
        head = {"typ": "dpop+jwt", "jwk": self.jwk} | (header or {})
        return jwt.encode(said, key or self.key, self.algorithm, head)


def peer_of(path, now, *, domain="example.test", life=3600, serial=None):
    """Who shows a certificate."""
    return Peer(
        id=parse(f"spiffe://{domain}{path}"),
        serial=serial or f"{int(now * 1000):012x}{secrets.token_hex(4)}",
        thumbprint=base64url(secrets.token_bytes(32)),
        anchor=secrets.token_hex(32),
        issued_at=now,
        expires_at=now + life,
    )


class Issuer:
    """Signs JWT-SVIDs of one trust domain."""

    def __init__(self, domain="example.test", key=None, algorithm="ES256", kid="k1"):
        self.domain = domain
        self.algorithm = algorithm
        self.kid = kid
        self.key = key or ec.generate_private_key(ec.SECP256R1())

    def bundle(self):
        return Bundle(
            trust_domain=self.domain,
            x509=(),
            jwt={self.kid: self.key.public_key()},
            sequence=1,
            refresh_hint=300,
        )

    def svid(self, path, now, *, header=None, algorithm=None, key=None, **claims):
        said = {
            "sub": f"spiffe://{self.domain}{path}",
            "aud": ["spiffe://example.test/gateway/gate"],
            "iat": int(now),
            "exp": int(now) + 300,
            "jti": secrets.token_hex(16),
        } | claims
        said = {name: value for name, value in said.items() if value is not None}
        head = {"kid": self.kid, "typ": "JWT"} | (header or {})
        head = {name: value for name, value in head.items() if value is not None}
        key = None if algorithm == "none" else key or self.key
        return jwt.encode(said, key, algorithm or self.algorithm, head)


def trust_in(own, *foreign):
    """The trust of a gate of ``own``'s domain, federated with the others."""
    bundle = own.bundle()
    trust = Trust(lambda: bundle)
    for each in foreign:
        trust.put(each.bundle())
    return trust
