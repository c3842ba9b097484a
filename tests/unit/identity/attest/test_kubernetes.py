"""Kubernetes' tokens: a pod of a cluster that we know is attested, and nobody else."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from issuers import Issuer
from portcullis.config.identity import Kubernetes
from portcullis.core.errors import Problem
from portcullis.identity.attest.kubernetes import Clusters, PublishedKeys, TokenReview
from portcullis.identity.attest.selectors import checked

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000
UID = "4f6c1b9e-7d0a-4a57-9b1e-1c2d3e4f5a6b"
SELECTORS = (
    "k8s:cluster:prod",
    "k8s:ns:shop",
    "k8s:sa:courier",
    "k8s:pod-name:courier-7d9f-x2x",
    f"k8s:pod-uid:{UID}",
)


class Clock:
    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return NOW


@pytest.fixture
def issuer():
    return Issuer("https://kubernetes.default.svc")


@pytest.fixture
def clusters(issuer):
    settings = Kubernetes(issuer=issuer.url, jwks="jwks.json")
    return Clusters({"prod": PublishedKeys("prod", settings, keys=issuer, clock=Clock(), skew=5)})


def bound(**changes) -> dict:
    found = {
        "namespace": "shop",
        "node": {"name": "node-1", "uid": UID},
        "pod": {"name": "courier-7d9f-x2x", "uid": UID},
        "serviceaccount": {"name": "courier", "uid": UID},
        "warnafter": NOW + 3607,
    } | changes
    return {name: value for name, value in found.items() if value is not None}


def claims(**changes) -> dict:
    """As the API server writes them (bound service account tokens)."""
    found = {
        "aud": ["portcullis"],
        "exp": NOW + 3600,
        "iat": NOW - 10,
        "iss": "https://kubernetes.default.svc",
        "jti": UID,
        "kubernetes.io": bound(),
        "nbf": NOW - 10,
        "sub": "system:serviceaccount:shop:courier",
    } | changes
    return {name: value for name, value in found.items() if value is not None}


async def refused(clusters, token: str, cluster: str = "prod") -> str:
    with pytest.raises(Problem) as caught:
        await clusters.attest(cluster, token)
    assert caught.value.code == "PC2062"
    return caught.value.detail


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
async def test_a_pods_token_gives_the_selectors_that_entries_can_ask_for(clusters, issuer, alg):
    workload = await clusters.attest("prod", issuer.token(claims(), alg, headers={"typ": "JWT"}))
    assert workload.selectors == SELECTORS
    assert set(checked(SELECTORS)) == set(SELECTORS)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"iss": "https://other.cluster"}, "iss"),
        ({"aud": ["https://kubernetes.default.svc"]}, "aud"),
        ({"aud": None}, "missing"),
        ({"exp": NOW}, "exp"),
        ({"exp": None}, "missing"),
        ({"nbf": NOW + 60}, "nbf"),
        ({"iat": NOW + 60}, "iat"),
        ({"sub": "system:serviceaccount:shop:admin"}, "sub"),
        ({"sub": "system:node:node-1"}, "sub"),
        ({"kubernetes.io": None}, "missing"),
        ({"kubernetes.io": bound(pod=None)}, "no pod"),
        ({"kubernetes.io": bound(namespace=None)}, "missing"),
        ({"kubernetes.io": bound(namespace="other")}, "sub"),
        ({"kubernetes.io": bound(serviceaccount={"name": "admin", "uid": UID})}, "sub"),
        ({"kubernetes.io": bound(pod={"name": "x:ns:other", "uid": UID})}, "form"),
        ({"kubernetes.io": bound(pod={"name": "courier", "uid": "../x"})}, "form"),
        ({"kubernetes.io": bound(pod={"name": "c" * 254, "uid": UID})}, "form"),
        ({"kubernetes.io": "shop"}, "malformed"),
    ],
    ids=str,
)
async def test_a_token_that_is_not_good_is_refused_by_its_rule(clusters, issuer, change, rule):
    assert rule in await refused(clusters, issuer.token(claims(**change)))


@pytest.mark.parametrize("alg", ["PS256", "EdDSA", "HS256"])
async def test_algorithms_that_no_cluster_uses_are_refused(clusters, issuer, alg):
    assert "alg" in await refused(clusters, issuer.token(claims(), alg))


async def test_another_clusters_signature_is_refused(clusters, issuer):
    stranger = ec.generate_private_key(ec.SECP256R1())
    assert "signature" in await refused(clusters, issuer.token(claims(), "ES256", key=stranger))


async def test_a_cluster_that_we_do_not_know_attests_nobody(clusters, issuer):
    assert "cluster" in await refused(clusters, issuer.token(claims()), "test")


def status(**changes) -> dict:
    """What a TokenReview answers for a pod's token."""
    return {
        "authenticated": True,
        "user": {
            "username": "system:serviceaccount:shop:courier",
            "uid": UID,
            "groups": ["system:serviceaccounts", "system:serviceaccounts:shop"],
            "extra": {
                "authentication.kubernetes.io/credential-id": ["JTI=" + UID],
                "authentication.kubernetes.io/pod-name": ["courier-7d9f-x2x"],
                "authentication.kubernetes.io/pod-uid": [UID],
            },
        },
        "audiences": ["portcullis"],
    } | changes


class ApiServer:
    def __init__(self, status: dict) -> None:
        self.answer = {
            "kind": "TokenReview",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"creationTimestamp": None},
            "spec": {"token": "", "audiences": ["portcullis"]},
            "status": status,
        }
        self.seen: list[dict] = []

    async def __call__(self, body: bytes) -> bytes:
        self.seen.append(json.loads(body))
        return json.dumps(self.answer).encode()


def reviewing(review) -> Clusters:
    settings = Kubernetes(
        issuer="https://kubernetes.default.svc", review="https://127.0.0.1:1", credential="env:SA"
    )
    return Clusters({"prod": TokenReview("prod", settings, review)})


async def test_the_api_server_is_asked_for_our_audience_and_believed(issuer):
    server = ApiServer(status())
    token = issuer.token(claims())
    assert (await reviewing(server).attest("prod", token)).selectors == SELECTORS
    assert server.seen == [
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": ["portcullis"]},
        }
    ]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"authenticated": False}, "accept"),
        ({"authenticated": "true"}, "no TokenReview"),
        ({"error": "token expired"}, "accept"),
        ({"audiences": []}, "audience"),
        ({"audiences": ["https://kubernetes.default.svc"]}, "audience"),
        ({"user": {"username": "admin"}}, "service account"),
        ({"user": {"username": "system:serviceaccount:a:b:c"}}, "service account"),
        ({"user": {"username": "system:serviceaccount:shop:courier"}}, "no pod"),
        (
            {
                "user": {
                    "username": "system:serviceaccount:shop:courier",
                    "extra": {
                        "authentication.kubernetes.io/pod-name": ["a", "b"],
                        "authentication.kubernetes.io/pod-uid": [UID],
                    },
                }
            },
            "no pod",
        ),
    ],
    ids=str,
)
async def test_what_the_api_server_does_not_confirm_is_refused(issuer, change, rule):
    server = ApiServer(status(**change))
    assert rule in await refused(reviewing(server), issuer.token(claims()))


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{}", b'{"apiVersion":"v1","kind":"Status","status":{}}', b"\xff"]
)
async def test_an_answer_that_is_no_review_attests_nobody(issuer, answer):
    async def review(body: bytes) -> bytes:
        return answer

    assert "TokenReview" in await refused(reviewing(review), issuer.token(claims()))


async def test_an_api_server_that_does_not_answer_attests_nobody(issuer):
    async def review(body: bytes) -> bytes:
        raise Problem("PC5001", "no connection to the upstream")

    assert "no review" in await refused(reviewing(review), issuer.token(claims()))


@pytest.mark.parametrize("token", ["", "x", "a.b.c" * 5000, 'a"}.b.c', "a.b"])
async def test_what_is_no_token_is_not_sent_to_the_api_server(token):
    server = ApiServer(status())
    await refused(reviewing(server), token)
    assert server.seen == []
