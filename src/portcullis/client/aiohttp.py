"""aiohttp through the gate: a ``ClientSession`` that carries SVID and bound token."""

from __future__ import annotations

import ssl
from typing import Any, Final

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from aiohttp.payload import BytesPayload
from yarl import URL

from portcullis.client.gate import Access, Link
from portcullis.client.tokens import delegation_in
from portcullis.core.errors import Problem

_UNAUTHORIZED: Final = 401


def session(access: Access, *, delegation: str = "", **options: Any) -> aiohttp.ClientSession:
    """A session for requests to the gate, and to it alone; ``options`` are ClientSession's.

    Each request goes over a connection under the SVID of now, with a token bound to that. A
    delegation (a session's token) is exchanged for one: ``delegation``, or what stands in the
    request's own ``Authorization: Bearer`` or ``x-api-key``; a placeholder there is replaced. A
    request that the gate refused with 401 is sent once more, with a fresh token, when its body
    is bytes. Raises the gate's refusal of a token as a Problem, and ``aiohttp.InvalidURL`` for
    an address elsewhere.
    """
    return aiohttp.ClientSession(
        request_class=_Request,
        middlewares=(*options.pop("middlewares", ()), _Carry(access, delegation)),
        **options,
    )


class _Request(ClientRequest):
    """A request whose connection belongs to a link: links share no connections."""

    link: Link | None = None

    @property
    def ssl(self) -> ssl.SSLContext | bool | aiohttp.Fingerprint:
        tls = None if self.link is None else self.link.context
        return super().ssl if tls is None else tls

    @property
    def connection_key(self) -> Any:
        return super().connection_key._replace(ssl=self.ssl)


class _Carry:
    """The middleware that puts in the credentials; it runs last, after all others."""

    def __init__(self, access: Access, delegation: str) -> None:
        self._access = access
        self._origin = URL(access.url)
        self._delegation = delegation

    async def __call__(self, request: ClientRequest, send: ClientHandlerType) -> ClientResponse:
        if request.url.origin() != self._origin or not isinstance(request, _Request):
            raise aiohttp.InvalidURL(request.url, "credentials go to the gate alone")
        shown = [request.headers.popall(name, []) for name in ("authorization", "x-api-key")]
        if any(len(values) > 1 for values in shown):
            raise Problem("PC2005", "a header with a credential occurs twice")
        delegation = delegation_in(*("".join(values) for values in shown)) or self._delegation
        token = await self._carry(request, delegation, "")
        response = await send(request)
        if response.status == _UNAUTHORIZED and _replayable(request.body):
            response.release()
            await self._carry(request, delegation, token)
            response = await send(request)
        return response

    async def _carry(self, request: _Request, delegation: str, spent: str) -> str:
        request.link = self._access.link()
        url = str(request.url.with_query(None).with_fragment(None))
        granted = await request.link.grant(request.method, url, delegation, spent=spent)
        request.headers.update(granted.headers)
        return granted.token


def _replayable(body: object) -> bool:
    return body == b"" or isinstance(body, BytesPayload)
