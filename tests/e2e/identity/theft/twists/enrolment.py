"""Thefts where identities begin: enrolment at POST /v1/svid, operators' logins."""

import asyncio
import base64
import secrets
import time
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from e2e.identity.theft import forge
from e2e.identity.theft.deployment import ISSUER, Answer, Scene, operator
from e2e.identity.theft.twists.certificates import happens
from e2e.identity.theft.twists.registry import twist
from e2e.identity.theft.twists.tokens import id_token as id_token_of
from e2e.identity.theft.twists.tokens import uris_of


def request(key, uri: str = "") -> x509.CertificateSigningRequest:
    built = x509.CertificateSigningRequestBuilder().subject_name(forge.name(uri[-60:] or "any"))
    if uri:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        built = built.add_extension(names, critical=False)
    return built.sign(key, hashes.SHA256())


def pkcs10(scene: Scene, kind: str = "good") -> str:
    """A PKCS #10 in PEM."""
    key = ec.generate_private_key(ec.SECP256K1()) if kind == "secp256k1" else forge.p256()
    made = request(key, str(scene.victim.id) if kind == "victim" else "")
    if kind == "broken":  # the victim's key where the thief's was, under the thief's signature
        der = made.public_bytes(Encoding.DER)
        point = (Encoding.X962, PublicFormat.UncompressedPoint)
        mine = key.public_key().public_bytes(*point)
        theirs = scene.victim.shown.key.public_key().public_bytes(*point)
        made = x509.load_der_x509_csr(der.replace(mine, theirs))
    return made.public_bytes(Encoding.PEM).decode()


@twist
async def join(
    scene: Scene, *, twice=False, ttl=None, wait=0, guess=False, tries=1, cut="", csr="good"
) -> Answer:
    """The thief's join token, redeemed in a way that it is not for."""
    kind = csr
    wanted = {} if ttl is None else {"ttl_seconds": ttl}
    answer = await scene.at.admin(f"/principals/agent/{scene.thief.name}/join", wanted)
    token = answer.good()["join_token"]

    async def redeem() -> Answer:
        shown = secrets.token_urlsafe(len(token) * 3 // 4) if guess else token
        sent = {"csr": pkcs10(scene, kind), "join_token": shown}
        return await scene.at.plain("/v1/svid", json=sent)

    if twice:
        (await redeem()).good()
    if cut:
        await scene.at.change("agent", scene.thief.name, cut)
    await asyncio.sleep(wait)
    answer = await redeem()
    for _ in range(tries - 1):
        if answer.status == 429:
            break
        answer = await redeem()
    if answer.status == 201:
        assert uris_of(answer.body["svid"]) == [str(scene.thief.id)]
    return answer


@twist
async def renew_bare(scene: Scene) -> Answer:
    return await scene.at.plain("/v1/svid", json={"csr": pkcs10(scene)})


@twist
async def renew_after(scene: Scene, *, verb) -> Answer:
    async with scene.at.line(scene.victim.shown) as line:
        (await scene.at.post(line, "mtls", "/v1/svid", json={"csr": pkcs10(scene)})).good()
        await happens(scene, scene.victim, verb)
        return await scene.at.post(line, "mtls", "/v1/svid", json={"csr": pkcs10(scene)})


@twist
async def pod(scene: Scene, *, sign="cluster", audience="portcullis") -> Answer:
    """A service-account token of the cluster's; the right one goes well first."""
    wanted = {"kind": "agent", "principal": scene.victim.name, "selectors": ["k8s:ns:shop"]}
    (await scene.at.admin("/entries", wanted)).good()

    async def enrol(key, meant: str) -> Answer:
        token = service_account(key, meant)
        sent = {"csr": pkcs10(scene), "kubernetes_token": token, "cluster": "pods"}
        return await scene.at.plain("/v1/svid", json=sent)

    (await enrol(scene.at.foreign, "portcullis")).good()
    return await enrol(scene.at.foreign if sign == "cluster" else forge.p256(), audience)


def service_account(key, audience: str) -> str:
    now = int(time.time())
    pod_of = {
        "namespace": "shop",
        "pod": {"name": "agent-0", "uid": "7c0de5a4-0000-4000-8000-000000000001"},
        "serviceaccount": {"name": "agent", "uid": "7c0de5a4-0000-4000-8000-000000000002"},
    }
    said = {
        "iss": ISSUER,
        "aud": [audience],
        "sub": "system:serviceaccount:shop:agent",
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "jti": secrets.token_hex(16),
        "kubernetes.io": pod_of,
    }
    return forge.jws(forge.es256(key), {"kid": "f1"}, said)


# Operators


@twist
async def login(scene: Scene, *, password="", name="ada", again=False, tries=1) -> Answer:
    right = secrets.token_urlsafe(18)
    await operator(scene.at.stage, "ada", "responder")
    answer = await scene.at.admin("/principals/operator/ada/password", {"password": right})
    uri = answer.good()["otpauth"]

    async def attempt(said: str) -> Answer:
        sent = {"name": name, "password": said, "code": one_time_code(uri)}
        return await scene.at.plain("/api/v1/login", listener="control", json=sent)

    if again:
        sent = {"name": name, "password": right, "code": one_time_code(uri)}
        first = await scene.at.plain("/api/v1/login", listener="control", json=sent)
        first.good()
        return await scene.at.plain("/api/v1/login", listener="control", json=sent)
    answer = await attempt(secrets.token_urlsafe(18) if password == "wrong" else right)  # noqa: S105 - a word of cases.yaml
    for _ in range(tries - 1):
        if answer.status == 429:
            break
        answer = await attempt(secrets.token_urlsafe(18))
    return answer


def one_time_code(uri: str) -> str:
    """RFC 6238 of now, from an otpauth URI."""
    secret = parse_qs(urlsplit(uri).query)["secret"][0]
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    totp = TOTP(key, 6, hashes.SHA1(), 30, enforce_key_length=False)  # noqa: S303 - RFC 6238
    return totp.generate(int(time.time())).decode()


@twist
async def id_token(scene: Scene, *, sign="issuer", audience="gate") -> Answer:
    """An ID token with an administrator's group; the right one goes well first."""

    async def attempt(token: str) -> Answer:
        return await scene.at.plain("/api/v1/login", listener="control", json={"id_token": token})

    (await attempt(id_token_of(scene))).good()
    key = scene.at.foreign if sign == "issuer" else forge.p256()
    return await attempt(id_token_of(scene, audience=audience, key=key))


@twist
async def revoked_operator(scene: Scene) -> Answer:
    token = await operator(scene.at.stage, "ada", "viewer")

    async def look() -> Answer:
        path = "/api/v1/principals"
        return await scene.at.plain(path, listener="control", method="GET", token=token)

    (await look()).good()
    await scene.at.change("operator", "ada", "revoke")
    return await look()
