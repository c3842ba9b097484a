"""The URL of a request as our listener knows it (RFC 9110 section 7.1).

The ``Host`` header is the client's word. It counts only when it says one of our own names and the
port that the listener has: a DPoP proof made for another server must not become one for us by
a header. Behind a forwarded port the address of the socket is what a proof has to name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

_AUTHORITY: Final = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::([0-9]{1,5}))?")
_PORTS: Final = {"http": 80, "https": 443}


def origin(scope: Mapping[str, Any], host: str, names: Collection[str]) -> str:
    """Scheme and authority of an ASGI request; ``host`` is the value of its Host header.

    ``names`` are the DNS names and addresses that clients know us by, in lower case.
    """
    scheme: str = scope.get("scheme", "http")
    found = _AUTHORITY.fullmatch(host.lower())
    server = scope.get("server")
    address, port = server or ("localhost", None)
    if found is not None and found[1].strip("[]") in names:
        named = int(found[2]) if found[2] else _PORTS.get(scheme)
        if port is None or named == port:
            return f"{scheme}://{found[0]}"
    address = f"[{address}]" if ":" in address else address
    return f"{scheme}://{address}" + ("" if port is None else f":{port}")


def target(scope: Mapping[str, Any], host: str, names: Collection[str]) -> str:
    """The request's URL without its query."""
    raw: bytes | None = scope.get("raw_path")
    path = scope["path"] if raw is None else raw.partition(b"?")[0].decode("latin-1")
    return origin(scope, host, names) + path
