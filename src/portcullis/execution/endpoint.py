"""Where each upstream is, how it is told who we are, and which addresses lie below it."""

from __future__ import annotations

import re
from typing import Final

import msgspec
from yarl import URL

from portcullis.config import Config
from portcullis.core.errors import Problem

BEARER: Final = "Authorization"
API_KEY: Final = "x-api-key"
_CACHED = 1024
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*/?(?:\?[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*)?")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream: its base URL, its credential's reference and the header that carries it."""

    url: str
    credential: str | None = None
    header: str = BEARER


def mcp_upstream(server: str) -> str:
    """Return the forwarder's name for an MCP server; it cannot clash with a model endpoint's."""
    return f"mcp:{server}"


def endpoints(config: Config) -> dict[str, Endpoint]:
    """Return every HTTP upstream: model endpoints by their name, MCP servers as ``mcp:NAME``."""
    found = {
        name: Endpoint(
            url=model.url,
            credential=model.credential,
            header=API_KEY if model.shape == "anthropic" else BEARER,
        )
        for name, model in config.models.items()
    }
    for name, server in config.mcp.items():
        if server.url is not None:
            found[mcp_upstream(name)] = Endpoint(url=server.url, credential=server.credential)
    return found


class Addresses:
    """Joins paths to one base URL; what is joined cannot leave it.

    Raises Problem PC7001 for a base URL with user information (a secret given by value), a
    fragment or no host.
    """

    def __init__(self, name: str, base: str) -> None:
        try:
            url = URL(base)
        except ValueError:
            url = URL()
        if url.scheme not in {"http", "https"} or not url.raw_host:
            raise Problem("PC7001", f"the URL of {name} is not an http or https URL with a host")
        if url.raw_user is not None or url.raw_password is not None:
            raise Problem("PC7001", f"the URL of {name} holds a credential; use `credential`")
        if url.raw_fragment:
            raise Problem("PC7001", f"the URL of {name} has a fragment")
        self._base = url
        self._root = str(url.with_query(None)).rstrip("/")
        self._known: dict[str, URL] = {"": url}

    def join(self, path: str) -> URL:
        """Return the address of ``path`` below the base; the empty path is the base itself.

        Problem PC1010 for a path with dot segments, empty segments, percent-encoding (it could
        hide either) or a character that has no place in a path.
        """
        url = self._known.get(path)
        if url is None:
            plain = path.partition("?")[0]
            if (
                not path.startswith("/")
                or not _PATH.fullmatch(path)
                or not {".", ".."}.isdisjoint(plain.split("/"))
                or self._base.raw_query_string
            ):
                raise Problem("PC1010", "the path does not lie below the upstream's address")
            url = URL(self._root + path, encoded=True)
            if len(self._known) >= _CACHED:
                self._known = {"": self._base}
            self._known[path] = url
        return url
