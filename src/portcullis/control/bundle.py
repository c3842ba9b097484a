"""Our trust bundle for everybody, and the application of the bootstrap listener.

Other trust domains fetch the bundle here (SPIFFE_Federation.md section 5). On our TLS listeners the
server shows its SVID: that is the profile ``https_spiffe``. For ``https_web`` a front proxy with a
certificate of the web's authorities passes ``/v1/bundle`` on.
"""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Response

from portcullis.control.edge import Api, Edge
from portcullis.identity.bundle import Bundle, encode


def bundle_router(bundle: Callable[[], Bundle]) -> APIRouter:
    """``GET /v1/bundle``: the SPIFFE bundle document, without any credential.

    ``bundle`` gives the present one, the same object until it changes. Caches may keep the answer
    for as long as its refresh hint says.
    """
    router = APIRouter()
    known: list[tuple[Bundle, bytes]] = []

    @router.get("/v1/bundle", openapi_extra={"security": []})
    async def get_bundle() -> Response:
        """The trust bundle, in SPIFFE's format."""
        present = bundle()
        if not known or known[0][0] is not present:
            known[:] = [(present, encode(present))]
        return Response(
            known[0][1],
            media_type="application/json",
            headers={
                "cache-control": f"public, max-age={present.refresh_hint}",
                "x-content-type-options": "nosniff",
            },
        )

    return router


def bootstrap_app(edge: Edge, version: str, *routers: APIRouter) -> Api:
    """What the bootstrap listener serves: these routers and nothing else."""
    api = edge.app("Portcullis bootstrap API", version)
    for router in routers:
        api.include_router(router)
    return api
