"""Thefts with forged tokens: access tokens over mutual TLS, JWT-SVIDs at the token endpoint."""

import asyncio
import base64
import secrets
import time

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from e2e.identity.theft import forge
from e2e.identity.theft.deployment import ISSUER, PARTNER, Answer, Scene, exchange_svid
from e2e.identity.theft.hooks import access_token_key
from e2e.identity.theft.twists.registry import twist


@twist
async def retold(scene: Scene, *, claims=None, put=None) -> Answer:
    """A token of the victim's, some claims changed, under the issuer's own key.

    ``claims`` are seconds from now, ``put`` are values.
    """
    head, said, _ = forge.opened(await scene.victim.token())
    now = int(time.time())
    moved = {name: now + seconds for name, seconds in (claims or {}).items()}
    signer = forge.eddsa(access_token_key(scene.at.stage))
    token = forge.jws(signer, head, said | moved | (put or {}))
    return await scene.at.mtls(scene.victim.shown, token=token)


@twist
async def forged(scene: Scene, *, sign, put=None, header=None) -> Answer:
    """The thief's own token, told and signed anew without the issuer."""
    token = await scene.thief.token()
    head, said, signature = forge.opened(token)
    own = Ed25519PrivateKey.generate()
    said |= put or {}
    signer = {
        "kept": forge.Signer("EdDSA", lambda _: forge.unb64(signature)),
        "own": forge.eddsa(own),
        "hs256": forge.hs256(access_token_key(scene.at.stage).public_key()),
        "none": forge.UNSIGNED,
        "es256": forge.es256(forge.p256()),
    }[sign]
    added = {"alg": signer.alg} | (header or {})
    if added.get("jwk") == "OWN":
        added["jwk"] = forge.jwk(own.public_key())
    if added.get("x5c") == "OWN":
        made = forge.template(own, []).issuer_name(forge.name("workload"))
        added["x5c"] = [base64.b64encode(forge.signed(made, own)).decode()]
    return await scene.at.mtls(scene.thief.shown, token=forge.jws(signer, head | added, said))


@twist
async def other_kind(scene: Scene, *, token) -> Answer:
    shown = {
        "id_token": lambda: id_token(scene),
        "jwt_svid": scene.victim.jwt_svid,
        "proof": lambda: scene.victim.proof("/openai/v1/chat/completions"),
    }[token]()
    return await scene.at.mtls(scene.thief.shown, token=shown)


def id_token(scene: Scene, *, audience: str = "gate", key=None) -> str:
    """What the issuer of ID tokens says of somebody who is an administrator."""
    now = int(time.time())
    said = {
        "iss": ISSUER,
        "aud": audience,
        "sub": f"u-{scene.id}",
        "iat": now,
        "exp": now + 300,
        "groups": ["admins"],
    }
    return forge.jws(forge.es256(key or scene.at.foreign), {"typ": "JWT", "kid": "f1"}, said)


# JWT-SVIDs


@twist
async def svid_exchange(scene: Scene, *, proof=True, twice=False, audience="") -> Answer:
    svid = scene.victim.jwt_svid(audience)
    if twice:
        (await exchange_svid(scene.at, svid, scene.victim.dpop)).good()
    return await exchange_svid(scene.at, svid, scene.thief.dpop if proof else None)


@twist
async def access_token_as_svid(scene: Scene) -> Answer:
    return await exchange_svid(scene.at, await scene.victim.dpop_token(), scene.victim.dpop)


@twist
async def partner_svid(scene: Scene, *, sign="es256", sub="", claims=None) -> Answer:
    """A JWT-SVID of a registered workload of the partner's; ``claims`` are seconds from now.

    One that is right in all points goes well first.
    """
    mine = f"spiffe://{PARTNER}/ns/p-{scene.id}"
    await scene.another("p", spiffe_id=mine)
    right = forge.es256(scene.at.partner_jwt)
    for _ in range(300):  # a new registration is known within a fraction of a second
        good = await exchange_svid(scene.at, _svid(scene, right, mine, {}), scene.thief.dpop)
        if good.status == 200:
            break
        await asyncio.sleep(0.1)
    good.good()
    signer = {
        "es256": lambda: right,
        "own": lambda: forge.es256(forge.p256()),
        "eddsa": lambda: forge.eddsa(Ed25519PrivateKey.generate()),
        "hs256": lambda: forge.hs256(scene.at.partner_jwt.public_key()),
        "none": lambda: forge.UNSIGNED,
    }[sign]()
    svid = _svid(scene, signer, sub or mine, claims or {})
    return await exchange_svid(scene.at, svid, scene.thief.dpop)


def _svid(scene: Scene, signer: forge.Signer, sub: str, moved) -> str:
    now = int(time.time())
    said = {
        "sub": sub,
        "aud": [scene.at.gate_id],
        "iat": now,
        "exp": now + 300,
        "jti": secrets.token_hex(16),
    }
    for name, seconds in moved.items():
        said[name] = None if seconds is None else now + seconds
    return forge.jws(signer, {"kid": "p1", "typ": "JWT"}, said)


def uris_of(pem: str) -> list[str]:
    """The URIs in a certificate, and nothing else of its names."""
    leaf = x509.load_pem_x509_certificate(pem.encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [each.value for each in names]
