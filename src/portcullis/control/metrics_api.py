"""The control plane's figures: for operators, and for who shows a credential that is for no more.

An operator's token ends within hours, and opens everything that the operator may. What scrapes
figures day and night has a credential of its own (``telemetry.metrics.token``): it is nobody's
name, has no rights, and no other route takes it.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import structlog
from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from portcullis.control.edge import Edge, token_of
from portcullis.control.shapes import CREDENTIAL, refusals
from portcullis.core.errors import Problem
from portcullis.core.ports import SecretSource
from portcullis.core.principal import PrincipalKind
from portcullis.core.rights import Right

PATH: Final = "/metrics"
SHORTEST: Final = 20
"""Characters of a credential: a shorter one is nobody's, for it could be guessed."""

Scraper: TypeAlias = Callable[[str], Awaitable[bool]]
"""Whether a token is the credential for figures."""

_SAID: Final[dict[str, Any]] = {
    "security": [{"bearer": []}],
    "x-principal": str(PrincipalKind.OPERATOR),
    "x-right": [str(Right.LOOK)],
}

log = structlog.get_logger(__name__)


async def nobody(_: str) -> bool:
    """No token is, where none is configured."""
    return False


def credential(secrets: SecretSource, reference: str) -> str:
    """What a scraper has to show, read anew. Problem PC5007 when there is none that is fit."""
    found = secrets.resolve(reference).reveal()
    if len(found) < SHORTEST:
        detail = f"{reference} is shorter than {SHORTEST} characters"
        raise Problem("PC5007", detail, hint="Make one with `openssl rand -hex 32`.")
    return found


def scraping(secrets: SecretSource, reference: str) -> Scraper:
    """Whoever shows what ``reference`` stands for now; nobody while there is none that is fit."""

    async def shown(token: str) -> bool:
        try:
            wanted = await asyncio.to_thread(credential, secrets, reference)
        except Problem as problem:
            log.warning("metrics_token_not_read", code=problem.code, detail=problem.detail)
            return False
        return hmac.compare_digest(token.encode(), wanted.encode())

    return shown


def router(
    edge: Edge, figures: Callable[[], Awaitable[bytes]], scraper: Scraper = nobody
) -> APIRouter:
    """The one route."""
    made = APIRouter(route_class=edge.door())

    @made.get(
        PATH,
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
            **refusals(*CREDENTIAL, "PC1021"),
        },
        openapi_extra=_SAID,
        response_class=Response,
    )
    async def show_metrics(request: Request) -> Response:
        """The gate's figures in Prometheus' text format."""
        if not await scraper(token_of(request)):
            _expect_operator(edge, request)
        return Response(await figures(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return made


def _expect_operator(edge: Edge, request: Request) -> None:
    """Raise Problem PC2004 for anybody else, and those of ``edge.admit``."""
    context = edge.admit(request)
    if context.principal.kind is not PrincipalKind.OPERATOR:
        raise Problem("PC2004", "figures are for operators, and for telemetry.metrics.token")
    edge.need(context, Right.LOOK)
