"""ID tokens: whoever holds a good one is known; everything else is refused by its rule."""

from __future__ import annotations

import base64
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from issuers import Issuer
from portcullis.config.identity import Oidc
from portcullis.core.errors import Problem
from portcullis.identity.keyset import KeysUnavailableError
from portcullis.identity.oidc import IdTokens

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000


class Clock:
    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return NOW


@pytest.fixture
def issuer():
    return Issuer()


@pytest.fixture
def settings():
    return Oidc(
        issuer="https://issuer.test",
        client_id="portcullis",
        jwks="https://issuer.test/jwks",
        operators={"sre": "responder", "leads": "approver", "oncall": "responder"},
    )


@pytest.fixture
def tokens(issuer, settings):
    return IdTokens({"corp": settings}, keys={"corp": issuer}, clock=Clock(), skew=5)


def claims(**changes) -> dict:
    found = {
        "iss": "https://issuer.test",
        "aud": "portcullis",
        "sub": "ada",
        "iat": NOW - 10,
        "exp": NOW + 300,
        "groups": ["sre", "staff"],
    } | changes
    return {name: value for name, value in found.items() if value is not None}


async def refused(tokens, token: str) -> str:
    with pytest.raises(Problem) as caught:
        await tokens.person(token)
    assert caught.value.code == "PC2072"
    assert "ada" not in caught.value.detail
    return caught.value.detail


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_a_good_token_says_who_it_is_and_which_roles_the_groups_stand_for(
    tokens, issuer, alg
):
    person = await tokens.operator(issuer.token(claims(), alg))
    assert (person.id, person.groups) == ("corp:ada", ("sre", "staff"))
    assert (person.roles, person.expires_at) == (("responder",), NOW + 300)


@pytest.mark.parametrize(
    ("said", "email"),
    [
        ({"email": "ada@corp.test", "email_verified": True}, "ada@corp.test"),
        ({"email": "ada@corp.test", "email_verified": "true"}, ""),
        ({"email": "ada@corp.test"}, ""),
        ({"email": ["ada@corp.test"], "email_verified": True}, ""),
        ({"email": "ada\n@corp.test", "email_verified": True}, ""),
        ({"email_verified": True}, ""),
    ],
)
async def test_an_address_counts_only_where_the_issuer_verified_it(tokens, issuer, said, email):
    assert (await tokens.person(issuer.token(claims(**said)))).email == email


async def test_roles_of_several_groups_are_joined_and_each_stands_once(tokens, issuer):
    token = issuer.token(claims(groups=["sre", "oncall", "leads"]))
    assert (await tokens.operator(token)).roles == ("approver", "responder")


async def test_somebody_without_a_role_is_a_user_and_no_operator(tokens, issuer):
    token = issuer.token(claims(groups="staff"))
    assert (await tokens.user(token)).id == "corp:ada"
    with pytest.raises(Problem) as caught:
        await tokens.operator(token)
    assert "role" in caught.value.detail


async def test_an_issuer_that_is_not_for_users_vouches_for_none(issuer, settings):
    closed = settings.model_copy(update={"users": False})
    tokens = IdTokens({"corp": closed}, keys={"corp": issuer}, clock=Clock(), skew=5)
    with pytest.raises(Problem) as caught:
        await tokens.user(issuer.token(claims()))
    assert "vouch" in caught.value.detail


async def test_one_issuer_may_serve_two_clients(issuer, settings):
    console = settings.model_copy(update={"client_id": "console"})
    tokens = IdTokens(
        {"corp": settings, "console": console},
        keys={"corp": issuer, "console": issuer},
        clock=Clock(),
        skew=5,
    )
    assert (await tokens.person(issuer.token(claims()))).issuer == "corp"
    assert (await tokens.person(issuer.token(claims(aud="console")))).issuer == "console"
    assert "aud" in await refused(tokens, issuer.token(claims(aud="mail")))


async def test_the_same_person_of_two_issuers_is_two_people(issuer, settings):
    other = Issuer("https://other.test")
    tokens = IdTokens(
        {"corp": settings, "other": settings.model_copy(update={"issuer": other.url})},
        keys={"corp": issuer, "other": other},
        clock=Clock(),
        skew=5,
    )
    first = await tokens.person(issuer.token(claims(), "ES256"))
    second = await tokens.person(other.token(claims(iss=other.url), "ES256"))
    assert first.id != second.id
    crossed = other.token(claims(), "ES256")  # signed by one, naming the other
    assert "signature" in await refused(tokens, crossed)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"iss": "https://other.test"}, "iss"),
        ({"iss": "https://issuer.test/"}, "iss"),
        ({"iss": None}, "missing"),
        ({"aud": "other"}, "aud"),
        ({"aud": ["other"]}, "aud"),
        ({"aud": None}, "missing"),
        ({"aud": ["portcullis", "other"]}, "azp"),
        ({"aud": ["portcullis", "other"], "azp": "other"}, "azp"),
        ({"azp": "other"}, "azp"),
        ({"exp": NOW}, "exp"),
        ({"exp": NOW - 1}, "exp"),
        ({"exp": None}, "missing"),
        ({"exp": "soon"}, "malformed"),
        ({"exp": True}, "malformed"),
        ({"nbf": NOW + 6}, "nbf"),
        ({"iat": NOW + 6}, "iat"),
        ({"iat": None}, "iat"),
        ({"iat": NOW - 86_401}, "iat"),
        ({"auth_time": NOW - 86_401}, "auth_time"),
        ({"auth_time": NOW + 60}, "auth_time"),
        ({"sub": None}, "missing"),
        ({"sub": ""}, "sub"),
        ({"sub": "a" * 256}, "sub"),
        ({"sub": "a\nb"}, "sub"),
        ({"groups": {"sre": True}}, "groups"),
        ({"groups": [1]}, "groups"),
        ({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}, "logout"),
    ],
    ids=str,
)  # fmt: skip
async def test_a_token_that_breaks_a_rule_is_refused_by_that_rule(tokens, issuer, change, rule):
    assert rule in await refused(tokens, issuer.token(claims(**change)))


@pytest.mark.parametrize(
    "change",
    [
        {"aud": ["portcullis", "other"], "azp": "portcullis"},
        {"aud": ["portcullis"]},
        {"iat": NOW + 5, "nbf": NOW + 5},
        {"auth_time": NOW - 86_400, "exp": NOW + 1},
        {"groups": None},
    ],
    ids=str,
)
async def test_what_the_rules_leave_room_for_is_accepted(tokens, issuer, change):
    assert (await tokens.person(issuer.token(claims(**change)))).subject == "ada"


def public_pem(issuer) -> bytes:
    key = issuer.private["RS256"].public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def unsigned(header: dict) -> str:
    parts = (json.dumps(part).encode() for part in (header, claims()))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


def confused(issuer) -> str:
    """The public key as the secret of an HMAC: what `alg` confusion is about."""
    head = unsigned({"alg": "HS256", "kid": "RS256", "typ": "JWT"}).rstrip(".")
    algorithm = jwt.get_algorithm_by_name("HS256")
    mac = algorithm.sign(head.encode(), public_pem(issuer))
    return f"{head}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda one: unsigned({"alg": "none", "kid": "RS256"}), "alg"),
        (lambda one: unsigned({"alg": "None", "kid": "RS256"}), "alg"),
        (lambda one: unsigned({"alg": ["RS256"], "kid": "RS256"}), "alg"),
        (lambda one: unsigned({"kid": "RS256"}), "alg"),
        (confused, "alg"),
        (lambda one: one.token(claims(), "HS256", headers={"kid": "RS256"}), "alg"),
        (lambda one: one.token(claims(), "RS512", key=one.private["RS256"]), "alg"),
        (lambda one: one.token(claims(), "RS256", headers={"kid": "PS256"}), "alg"),
        (lambda one: one.token(claims(), "RS256", headers={"kid": "ES256"}), "alg"),
        (lambda one: one.token(claims(), headers={"kid": "gone"}), "kid"),
        (lambda one: one.token(claims(), headers={"kid": None}), "kid"),
        (
            lambda one: one.token(claims(), "ES256", key=ec.generate_private_key(ec.SECP256R1())),
            "signature",
        ),
        (lambda one: one.token(claims(), headers={"typ": "at+jwt"}), "typ"),
        (lambda one: one.token(claims(), headers={"typ": "dpop+jwt"}), "typ"),
        (lambda one: one.token(claims(), headers={"crit": ["exp"]}), "extension"),
        (lambda one: one.token(claims()) + "=", "compact"),
        (lambda one: one.token(claims())[:-20] + "A" * 20, "signature"),
        (lambda one: one.token(claims()).rpartition(".")[0] + ".", "signature"),
        (lambda one: "x.y.z", "compact"),
        (lambda one: "", "compact"),
        (lambda one: "é", "characters"),
        (lambda one: "a" * 20_000, "characters"),
    ],
)
async def test_a_token_that_its_issuer_did_not_sign_as_it_says_is_refused(
    tokens, issuer, make, rule
):
    assert rule in await refused(tokens, make(issuer))


async def test_a_key_that_the_token_brings_along_is_never_used(tokens, issuer):
    own = ec.generate_private_key(ec.SECP256R1())
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(own.public_key()))
    token = issuer.token(claims(), "ES256", key=own, headers={"jwk": jwk, "jku": "https://e.test"})
    assert "signature" in await refused(tokens, token)


async def test_a_token_that_names_no_key_is_good_where_there_is_only_one(settings, issuer):
    """OpenID Connect Core section 10.1."""
    token = issuer.token(claims(), "ES256", headers={"kid": None})
    tokens = IdTokens({"corp": settings}, keys={"corp": issuer}, clock=Clock(), skew=5)
    assert "kid" in await refused(tokens, token)
    issuer.private = {"ES256": issuer.private["ES256"]}
    assert (await tokens.person(token)).subject == "ada"


async def test_an_issuer_whose_keys_cannot_be_had_lets_nobody_in(settings, issuer):
    class Silent:
        async def keys(self, kid):
            raise KeysUnavailableError("no whole answer within 10 s")

    tokens = IdTokens({"corp": settings}, keys={"corp": Silent()}, clock=Clock(), skew=5)
    assert "cannot be had" in await refused(tokens, issuer.token(claims()))


async def test_a_token_of_an_unknown_issuer_costs_no_request_for_keys(tokens, issuer):
    await refused(tokens, issuer.token(claims(iss="https://other.test")))
    assert issuer.asked == 0
