"""A request as it goes over the wire: its head and body in one piece (RFC 9112)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from portcullis.core.errors import Problem
from portcullis.core.ports import UpstreamRequest
from portcullis.execution.endpoint import Addresses

_OURS: Final = frozenset(
    {
        # we alone say who we are
        *("authorization", "proxy-authorization", "x-api-key", "api-key", "cookie", "host"),
        # they speak of the connection, which is ours
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "expect"),
        *("transfer-encoding", "content-length", "content-encoding", "accept-encoding"),
    }
)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t -~]*")
_METHODS: Final = {"GET": False, "DELETE": False, "POST": True, "PUT": True, "PATCH": True}
"""What can be sent, and whether it has a length even without a body (RFC 9110 section 8.6)."""
_CACHED: Final = 1024


def field(name: str, value: str) -> str:
    """Return a header line; Problem PC1011 for what could end it early or is not ASCII."""
    _token(name)
    if not (value.isascii() and value.isprintable()) and not _VALUE.fullmatch(value):
        raise _unsendable()
    return f"{name}: {value}\r\n"


class RequestWriter:
    """Writes the requests to one upstream; the parts that repeat are written once."""

    __slots__ = ("_addresses", "_begun")

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._begun: dict[tuple[str, str], str] = {}

    def write(
        self,
        request: UpstreamRequest,
        credential: str,
        *,
        query: str = "",
        body: bytes | None = None,
        replaced: frozenset[str] = frozenset(),
    ) -> bytes:
        """Return the bytes of a request; ``credential`` is header lines or nothing.

        ``query`` is added to the target, ``body`` stands in place of the request's. Headers that
        are ours to write, or ``replaced``, are left out. Raises Problem PC1009 for a method that
        we do not forward, PC1010 for a path that would leave the upstream's address, PC1011 for
        a header that cannot be sent.
        """
        body = request.body if body is None else body
        lines = [self._begin(request.method, request.path), credential]
        if query:  # it may hold a secret: nothing that is kept
            first, _, rest = lines[0].partition(" HTTP/1.1\r\n")
            lines[0] = f"{first}{'&' if '?' in first else '?'}{query} HTTP/1.1\r\n{rest}"
        for name, value in request.headers:
            token = _token(name)
            if token not in _OURS and token not in replaced:
                lines.append(field(name, value))
        if body or _METHODS[request.method]:
            lines.append(f"Content-Length: {len(body)}\r\n")
        lines.append("\r\n")
        return "".join(lines).encode("ascii") + body

    def _begin(self, method: str, path: str) -> str:
        begun = self._begun.get((method, path))
        if begun is None:
            if method not in _METHODS:
                raise Problem("PC1009", "this method is not forwarded")
            target = self._addresses.target(path)
            begun = (
                f"{method} {target} HTTP/1.1\r\n"
                f"Host: {self._addresses.authority}\r\nAccept-Encoding: identity\r\n"
            )
            if len(self._begun) >= _CACHED:
                self._begun.clear()
            self._begun[method, path] = begun
        return begun


@lru_cache(_CACHED)
def _token(name: str) -> str:
    """Return a header's name in lower case; Problem PC1011 when it is no token."""
    if not _TOKEN.fullmatch(name):
        raise _unsendable()
    return name.lower()


def _unsendable() -> Problem:
    return Problem("PC1011", "a header cannot be sent")
