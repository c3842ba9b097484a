"""What an authority signs with and publishes, as its files say."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from portcullis.core.errors import Problem
from portcullis.core.ports import Sealer
from portcullis.identity.authority_files import Files, State, parse_state
from portcullis.identity.bundle import DEFAULT_REFRESH, Bundle, PublicKey
from portcullis.identity.jwt_signing import JwtSigner
from portcullis.identity.rotation import unsealed
from portcullis.identity.x509 import LeafSigner


@dataclass(frozen=True, slots=True)
class InForce:
    """One state, ready to use; ``raw`` is the state file's content."""

    raw: bytes
    state: State
    leaves: LeafSigner
    leaves_until: float
    tokens: JwtSigner
    bundle: Bundle


def known_state(raw: bytes, trust_domain: str) -> State:
    """What ``state.json`` says. Raises Problem PC7008, also for another trust domain."""
    state = parse_state(raw)
    if state.trust_domain != trust_domain:
        raise Problem("PC7008", "the authority's keys are those of another trust domain")
    return state


def in_force(files: Files, trust_domain: str, sealer: Sealer, svid_ttl: float) -> InForce:
    """Read what signs. The root's key stays where it is.

    Raises Problem PC7001 (files), PC7008 (what is in them), PC7010 (sealed otherwise).
    """
    raw = files.raw_state() or b""
    state = known_state(raw, trust_domain)
    signing, jwt = state.active("signing"), state.active("jwt")
    certificate = files.get(f"{signing.name}.pem")
    signing_key, jwt_key = (
        unsealed(sealer, files.get(f"{key.name}.key"), f"{key.name}.key") for key in (signing, jwt)
    )
    if not isinstance(jwt_key, EllipticCurvePrivateKey):
        raise Problem("PC7008", f"{jwt.name}.key is not a P-256 key")
    try:
        leaves = LeafSigner(x509.load_pem_x509_certificate(certificate), signing_key)
    except ValueError:
        raise Problem("PC7008", f"{signing.name}.pem cannot be read") from None
    bundle = read_bundle(files, state, svid_ttl)
    return InForce(raw, state, leaves, signing.not_after, JwtSigner(jwt.id, jwt_key), bundle)


def read_bundle(files: Files, state: State, svid_ttl: float) -> Bundle:
    """The bundle that a state publishes; needs no private key.

    Consumers look again four times in the life of an SVID, so that they know a new key well
    before it signs. Raises Problem PC7001 or PC7008 for files that cannot be read.
    """
    jwt: dict[str, PublicKey] = {}
    try:
        for key in state.published("jwt"):
            public = serialization.load_pem_public_key(files.get(f"{key.name}.pem"))
            jwt[key.id] = public  # type: ignore[assignment]  # ours: always P-256
        roots = tuple(
            x509.load_pem_x509_certificate(files.get(f"{key.name}.pem")).public_bytes(Encoding.DER)
            for key in state.published("root")
        )
    except ValueError:
        raise Problem("PC7008", "a certificate of the authority cannot be read") from None
    return Bundle(
        trust_domain=state.trust_domain,
        x509=roots,
        jwt=jwt,
        sequence=state.sequence,
        refresh_hint=max(1, int(min(DEFAULT_REFRESH, svid_ttl / 4))),
    )


def root_keys(files: Files, state: State) -> dict[str, bytes]:
    """The sealed root keys that are online, by file name."""
    names = [f"{key.name}.key" for key in state.published("root") if key.state != "retired"]
    return {name: files.get(name) for name in names if files.has(name)}


def attention(files: Files, state: State, now: float) -> str:
    """What an operator has to do soon, or nothing: renewals that the clock cannot do alone."""
    signing, root = state.of("signing", "active"), state.of("root", "active")
    if signing is None or root is None or now < signing.half or files.has(f"{root.name}.key"):
        return ""
    left = (signing.not_after - now) / 86_400
    when = f"ends in {left:.1f} days" if left > 0 else "has expired"
    return (
        f"the signing authority {when} and the root key is offline:"
        " `portcullis ca rotate signing --root-key FILE`"
    )


def digest(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()
