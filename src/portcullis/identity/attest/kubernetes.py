"""Kubernetes attests workloads: projected service-account tokens of the clusters we know.

A token is verified offline against the cluster's published keys, or by its API server
(``TokenReview`` of authentication.k8s.io/v1). The review is written to the documented shape and
tested against a stand-in of it; it has not been run against a live cluster.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

import msgspec

from portcullis.config.identity import Kubernetes
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.identity import jws
from portcullis.identity.foreign import MAX_TOKEN, Rules, read
from portcullis.identity.keyset import KeySource

CODE: Final = "PC2062"
ALGORITHMS: Final = frozenset({"RS256", "ES256"})

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAMESPACE: Final = re.compile(_LABEL)
_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_UID: Final = re.compile(r"[0-9a-fA-F-]{1,64}")
_USER: Final = re.compile(r"system:serviceaccount:([^:]+):([^:]+)")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

Review = Callable[[bytes], Awaitable[bytes]]
"""Posts a TokenReview (JSON) to an API server and returns its answer's body."""


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """A pod and its service account, in a cluster of the configuration."""

    cluster: str
    namespace: str
    account: str
    pod: str
    pod_uid: str

    @property
    def selectors(self) -> tuple[str, ...]:
        """What registration entries can ask for."""
        return (
            f"k8s:cluster:{self.cluster}",
            f"k8s:ns:{self.namespace}",
            f"k8s:sa:{self.account}",
            f"k8s:pod-name:{self.pod}",
            f"k8s:pod-uid:{self.pod_uid}",
        )


class Cluster(Protocol):
    """One way to verify a cluster's tokens. Raises Problem PC2062 for any that is not good."""

    async def attest(self, token: str) -> Workload: ...  # noqa: D102 - see above


class Clusters:
    """The clusters of the configuration, by name."""

    def __init__(self, clusters: Mapping[str, Cluster]) -> None:
        self._clusters = dict(clusters)

    async def attest(self, cluster: str, token: str) -> Workload:
        """Whose token it is. Raises Problem PC2062 for another than a bound one of a pod."""
        found = self._clusters.get(cluster)
        if found is None:
            raise Problem(CODE, "no such cluster in the configuration")
        return await found.attest(token)


class _Named(msgspec.Struct, frozen=True):
    name: str
    uid: str


class _Bound(msgspec.Struct, frozen=True):
    namespace: str
    serviceaccount: _Named
    pod: _Named | None = None


class _Claims(msgspec.Struct, frozen=True, rename={"kubernetes": "kubernetes.io"}):
    sub: str
    kubernetes: _Bound


class PublishedKeys:
    """Verifies tokens offline: signature, iss, aud, exp, nbf, and the claim ``kubernetes.io``.

    A token stays good until its ``exp``, also after its pod has gone.
    """

    def __init__(
        self, name: str, settings: Kubernetes, *, keys: KeySource, clock: Clock, skew: float
    ) -> None:
        self._name = name
        self._keys = keys
        self._clock = clock
        self._rules = Rules(
            code=CODE,
            issuer=settings.issuer,
            audience=settings.audience,
            algorithms=ALGORITHMS,
            skew=skew,
        )

    async def attest(self, token: str) -> Workload:
        """Whose token it is."""
        parts = jws.split(token, code=CODE, most=MAX_TOKEN)
        await self._rules.hold(parts, self._keys, self._clock.now())
        claims = read(parts.payload, _Claims, code=CODE)
        bound = claims.kubernetes
        if bound.pod is None:
            raise Problem(CODE, "the token is bound to no pod")
        if claims.sub != f"system:serviceaccount:{bound.namespace}:{bound.serviceaccount.name}":
            raise Problem(CODE, "sub is another service account than kubernetes.io names")
        return _workload(
            self._name, bound.namespace, bound.serviceaccount.name, bound.pod.name, bound.pod.uid
        )


class _User(msgspec.Struct, frozen=True):
    username: str = ""
    extra: dict[str, tuple[str, ...]] = {}


class _Status(msgspec.Struct, frozen=True):
    authenticated: bool = False
    user: _User = _User()
    audiences: tuple[str, ...] = ()
    error: str = ""


class _Review(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str
    kind: str
    status: _Status


class TokenReview:
    """Asks the API server, which also knows whether the pod still runs (unproven: see above)."""

    def __init__(self, name: str, settings: Kubernetes, review: Review) -> None:
        self._name = name
        self._audience = settings.audience
        self._review = review

    async def attest(self, token: str) -> Workload:
        """Whose token it is."""
        if len(token) > MAX_TOKEN or not _TOKEN.fullmatch(token):
            raise Problem(CODE, f"not a signed JWT of at most {MAX_TOKEN} characters")
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [self._audience]},
        }
        try:
            answer = await self._review(msgspec.json.encode(request))
        except Problem as problem:
            raise Problem(CODE, f"the API server gave no review: {problem.detail}") from None
        try:
            review = msgspec.json.decode(answer, type=_Review)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Problem(CODE, "the API server's answer is no TokenReview") from None
        if (review.api_version, review.kind) != ("authentication.k8s.io/v1", "TokenReview"):
            raise Problem(CODE, "the API server's answer is no TokenReview")
        return self._reviewed(review.status)

    def _reviewed(self, status: _Status) -> Workload:
        if not status.authenticated or status.error:
            raise Problem(CODE, "the API server does not accept the token")
        if self._audience not in status.audiences:
            raise Problem(CODE, "the API server does not confirm the audience")
        match = _USER.fullmatch(status.user.username)
        if match is None:
            raise Problem(CODE, "not a service account's token")
        pods = status.user.extra.get("authentication.kubernetes.io/pod-name", ())
        uids = status.user.extra.get("authentication.kubernetes.io/pod-uid", ())
        if len(pods) != 1 or len(uids) != 1:
            raise Problem(CODE, "the token is bound to no pod")
        return _workload(self._name, match[1], match[2], pods[0], uids[0])


def _workload(cluster: str, namespace: str, account: str, pod: str, uid: str) -> Workload:
    """The workload, when every part has the form that Kubernetes gives it (RFC 1123 names)."""
    if not (
        _NAMESPACE.fullmatch(namespace)
        and _NAME.fullmatch(account)
        and _NAME.fullmatch(pod)
        and _UID.fullmatch(uid)
    ):
        raise Problem(CODE, "a name in the token is not of Kubernetes' form")
    return Workload(cluster=cluster, namespace=namespace, account=account, pod=pod, pod_uid=uid)
