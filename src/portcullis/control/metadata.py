"""Where clients find their way: RFC 9728 and RFC 8414 documents. Public, nothing secret."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request

from portcullis.config import NAME
from portcullis.control.edge import Edge
from portcullis.control.form import CLIENT_CREDENTIALS, GRANT
from portcullis.control.shapes import refusals
from portcullis.identity.dpop import ALGORITHMS
from portcullis.wire.challenge import RESOURCE

AUTHORIZATION_SERVER: Final = "/.well-known/oauth-authorization-server"

_PUBLIC: Final[dict[str, Any]] = {"security": []}
_RESPONSES: Final = refusals("PC1020", "PC1021")


def metadata(edge: Edge) -> APIRouter:
    """The routes. What they answer depends on nothing but how the client reached us."""
    router = APIRouter(route_class=edge.door())

    @router.get(RESOURCE, responses=_RESPONSES, openapi_extra=_PUBLIC)
    async def describe_gate(request: Request) -> dict[str, Any]:
        """The gate as a protected resource (RFC 9728)."""
        return _resource(edge.origin(request), "", "Portcullis")

    @router.get(RESOURCE + "/mcp/{server}", responses=_RESPONSES, openapi_extra=_PUBLIC)
    async def describe_server(
        request: Request, server: Annotated[str, Path(pattern=NAME)]
    ) -> dict[str, Any]:
        """An MCP server behind the gate; of one that is not there it says the same."""
        return _resource(edge.origin(request), f"/mcp/{server}", f"{server} behind Portcullis")

    @router.get(AUTHORIZATION_SERVER, responses=_RESPONSES, openapi_extra=_PUBLIC)
    async def describe_issuer(request: Request) -> dict[str, Any]:
        """The token endpoint (RFC 8414)."""
        return _issuer(edge.origin(request))

    return router


def _resource(origin: str, path: str, name: str) -> dict[str, Any]:
    return {
        "resource": origin + path,
        "resource_name": name,
        "authorization_servers": [origin],
        "bearer_methods_supported": ["header"],
        "tls_client_certificate_bound_access_tokens": True,
        "dpop_signing_alg_values_supported": list(ALGORITHMS),
    }


def _issuer(origin: str) -> dict[str, Any]:
    return {
        "issuer": origin,
        # RFC 8414 does not ask for it where no grant uses it, but MCP clients do: nobody is there
        "authorization_endpoint": f"{origin}/v1/authorize",
        "token_endpoint": f"{origin}/v1/token",
        "response_types_supported": [],
        "grant_types_supported": [CLIENT_CREDENTIALS, GRANT],
        "token_endpoint_auth_methods_supported": ["tls_client_auth", "none"],
        "tls_client_certificate_bound_access_tokens": True,
        "dpop_signing_alg_values_supported": list(ALGORITHMS),
    }
