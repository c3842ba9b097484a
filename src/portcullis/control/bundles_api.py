"""The control plane's bundle of policy: OPA's Bundle Service API, with long polling."""

from __future__ import annotations

import re
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from portcullis.control.bundles import Bundles
from portcullis.control.edge import Edge
from portcullis.control.shapes import CREDENTIAL, refusals
from portcullis.core.principal import PrincipalKind
from portcullis.policy.bundles.archive import MEDIA_TYPE

PATH: Final = "/bundles/portcullis.tar.gz"
_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_ETAG: Final = re.compile(r'(?:W/)?("[^"]*")')
_WAIT: Final = re.compile(r"(?:^|[;,\s])wait=([0-9]{1,6})(?:$|[;,\s])")


def router(edge: Edge, bundles: Bundles) -> APIRouter:
    """The one route."""
    made = APIRouter(route_class=edge.door(PrincipalKind.OPERATOR, "viewer"))
    answers: dict[int | str, dict[str, Any]] = {
        200: {"content": {MEDIA_TYPE: {}}},
        304: {"description": "Nothing new"},
    }

    @made.get(
        PATH,
        responses={**answers, **refusals(*CREDENTIAL, "PC1021", "PC7030", "PC7038")},
        openapi_extra=_BEARER,
        response_class=Response,
    )
    async def get_bundle(request: Request) -> Response:
        """The policy in force as a signed bundle; If-None-Match and Prefer: wait=N hold."""
        known = frozenset(_ETAG.findall(",".join(request.headers.getlist("if-none-match"))))
        asked = _WAIT.search(",".join(request.headers.getlist("prefer")))
        found = await bundles.get(known, float(asked[1]) if asked else 0.0)
        if asked:
            edge.admit(request)  # whoever was cut off while he waited gets nothing
        headers = {"etag": found.etag, "cache-control": "no-cache"}
        if not found.archive:
            return Response(status_code=304, headers=headers)
        return Response(found.archive, media_type=MEDIA_TYPE, headers=headers)

    return made
