"""The few things that are asked of an API server, through the kubernetes client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import aiohttp

from portcullis.config.cluster import Cluster
from portcullis.core.errors import Problem
from portcullis.execution.sandbox.kubernetes_streams import PROTOCOL
from portcullis.execution.sandbox.manifest import CONTAINER, Document

if TYPE_CHECKING:
    from kubernetes_asyncio.client import ApiClient, Configuration
    from kubernetes_asyncio.stream import WsApiClient

_OLDEST: Final = (1, 33)
"""From when on pods have users of their own and attached streams an end."""
_NOT_FOUND, _SECONDS = 404, 10.0


class Refused(Exception):  # noqa: N818 - what the server did
    """The API server, or the kubelet behind it, did not do it; ``reason`` is in its words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason[:200]


class Api:
    """One client of one loop. Its methods raise ``Refused``, and aiohttp's and OS errors."""

    def __init__(self, client: ApiClient, attaching: WsApiClient, namespace: str) -> None:
        from kubernetes_asyncio import client as objects  # noqa: PLC0415 - an extra, and slow

        self._client, self._attaching, self._namespace = client, attaching, namespace
        self._objects = objects
        self._core: Any = objects.CoreV1Api(client)  # typed by half

    @classmethod
    async def opened(cls, cluster: Cluster) -> Self:
        """Connect. Problem PC5031 without the client, or without a configuration that it reads."""
        try:
            from kubernetes_asyncio.client import ApiClient  # noqa: PLC0415 - an extra, and slow
            from kubernetes_asyncio.stream import WsApiClient  # noqa: PLC0415 - the same
        except ImportError:
            hint = "pip install 'agent-portcullis[kubernetes]'"
            raise Problem("PC5031", "the Kubernetes client is not installed", hint=hint) from None
        configuration = await _configuration(cluster)
        return cls(ApiClient(configuration), WsApiClient(configuration), cluster.namespace)

    @property
    def address(self) -> str:
        """The API server, as ``host:port``."""
        parts = urlsplit(str(self._client.configuration.host))
        return f"{parts.hostname}:{parts.port or 443}"

    async def version(self) -> str:
        """The server's version. Refused when it is older than what boxes need."""
        found = await self._asked(self._objects.VersionApi(self._client).get_code())
        said = (int(found["major"]), int(found["minor"].rstrip("+")))
        if said < _OLDEST:
            raise Refused(f"Kubernetes {said[0]}.{said[1]}; boxes need {_OLDEST[0]}.{_OLDEST[1]}")
        return str(found["gitVersion"])

    async def handler(self, name: str) -> str:
        """What stands behind a RuntimeClass."""
        node = self._objects.NodeV1Api(self._client)
        found = await self._asked(node.read_runtime_class(name, _request_timeout=_SECONDS))
        return str(found["handler"])

    async def policies(self) -> list[Document]:
        """The namespace's NetworkPolicies."""
        network = self._objects.NetworkingV1Api(self._client)
        listed = network.list_namespaced_network_policy(self._namespace, _request_timeout=_SECONDS)
        return list((await self._asked(listed))["items"])

    async def sweep(self, owner: str) -> None:
        """Delete every box of an owner."""
        selector = f"app.kubernetes.io/component=box,app.kubernetes.io/instance={owner}"
        listed = self._core.list_namespaced_pod(
            self._namespace, label_selector=selector, _request_timeout=_SECONDS
        )
        for one in (await self._asked(listed))["items"]:
            await self.delete(one["metadata"]["name"], 0)

    async def create(self, pod: Document) -> None:
        """Make a pod."""
        made = self._core.create_namespaced_pod(
            self._namespace, pod, field_validation="Strict", _request_timeout=_SECONDS
        )
        await self._asked(made)

    async def read(self, name: str) -> Document | None:
        """A pod, None when there is none of that name."""
        try:
            asked = self._core.read_namespaced_pod(name, self._namespace, _request_timeout=_SECONDS)
            return await self._asked(asked)
        except Refused as refused:
            if refused.reason.startswith(f"{_NOT_FOUND} "):
                return None
            raise

    async def delete(self, name: str, grace: int) -> None:
        """Ask for a pod's end, after so many seconds; nothing happens when there is none."""
        try:
            asked = self._core.delete_namespaced_pod(
                name, self._namespace, grace_period_seconds=grace, _request_timeout=_SECONDS
            )
            await self._asked(asked)
        except Refused as refused:
            if not refused.reason.startswith(f"{_NOT_FOUND} "):
                raise

    async def attach(self, name: str) -> Any:
        """The WebSocket of a pod's standard streams."""
        try:
            core: Any = self._objects.CoreV1Api(self._attaching)
            opening = await core.connect_get_namespaced_pod_attach(
                name,
                self._namespace,
                container=CONTAINER,
                stdin=True,
                stdout=True,
                stderr=True,
                tty=False,
                _preload_content=False,
                _headers={"sec-websocket-protocol": PROTOCOL},
            )
            async with asyncio.timeout(_SECONDS):
                return await opening
        except aiohttp.WSServerHandshakeError as error:
            raise Refused(f"{error.status} attach") from None

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()
        await self._attaching.close()

    async def _asked(self, asking: Any) -> Document:
        try:
            found = await asking
        except self._objects.ApiException as error:
            raise Refused(f"{error.status} {error.reason}") from None
        document: Document = self._client.sanitize_for_serialization(found)
        return document


async def _configuration(cluster: Cluster) -> Configuration:
    from kubernetes_asyncio import client, config  # noqa: PLC0415 - an extra, and slow

    configuration = client.Configuration()
    configuration.client_side_validation = False  # the server's answers are as they are
    try:
        if cluster.kubeconfig is None:
            inside: Any = config.load_incluster_config
            inside(configuration)
        else:
            await config.load_kube_config(
                str(cluster.kubeconfig), cluster.context, configuration, persist_config=False
            )
    except (config.ConfigException, OSError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise Problem("PC5031", f"the cluster's configuration cannot be read: {said}") from None
    return configuration
