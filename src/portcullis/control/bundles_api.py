"""The control plane's bundle of policy: OPA's Bundle Service API, with long polling."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from portcullis.control.bundles import Bundles
from portcullis.control.edge import Edge
from portcullis.control.shapes import CREDENTIAL, refusals
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right
from portcullis.policy.bundles.archive import MEDIA_TYPE

PATH: Final = "/bundles/portcullis.tar.gz"
_BEARER: Final[dict[str, Any]] = {"security": [{"bearer": []}]}
_ETAG: Final = re.compile(r'(?:W/)?("[^"]*")')
_WAIT: Final = re.compile(r"(?:^|[;,\s])wait=([0-9]{1,6})(?:$|[;,\s])")


def router(edge: Edge, bundles: Bundles, readers: Collection[str] = ()) -> APIRouter:
    """The one route: for operators, and for the applications that are ``readers``."""
    made = APIRouter(route_class=edge.door())
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
        _expect(edge, edge.admit(request), readers)
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


def _expect(edge: Edge, context: Context, readers: Collection[str]) -> None:
    """Raise Problem PC2004 for whoever may not have the policy."""
    if context.principal.kind is PrincipalKind.OPERATOR:
        edge.need(context, Right.LOOK)
    elif context.principal.kind is not PrincipalKind.APPLICATION:
        raise Problem("PC2004", "bundles are for operators and for applications that are named")
    elif context.principal.id not in readers:
        hint = "Name it in `policy_changes.readers`."
        raise Problem("PC2004", "this application is none that may fetch bundles", hint=hint)
