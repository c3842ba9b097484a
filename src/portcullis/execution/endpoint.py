"""Where each upstream is, how it is told who we are, and which addresses lie below it."""

from __future__ import annotations

import re
from typing import Final

import msgspec
from yarl import URL

from portcullis.config import Config, UpstreamTls
from portcullis.config.secrets import Injection
from portcullis.core.errors import Problem
from portcullis.core.spiffe import SpiffeId, parse

BEARER: Final = "Authorization"
API_KEY: Final = "x-api-key"
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*/?(?:\?[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*)?")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream: its base URL, its credential's reference and the header that carries it.

    ``inject`` are further credentials; ``oauth`` is the name under which users' tokens for it are
    asked for, in place of all of these. Over https it may see our SVID (``svid``), and must be
    exactly the workload ``spiffe_id``.
    """

    url: str
    credential: str | None = None
    header: str = BEARER
    inject: tuple[Injection, ...] = ()
    oauth: str | None = None
    svid: bool = True
    spiffe_id: SpiffeId | None = None

    def injections(self) -> tuple[Injection, ...]:
        """All credentials that requests to it carry."""
        if self.credential is None:
            return self.inject
        template = "Bearer {secret}" if self.header == BEARER else "{secret}"
        own = Injection(header=self.header, secret=self.credential, template=template)
        return (own, *self.inject)


def mcp_upstream(server: str) -> str:
    """Return the forwarder's name for an MCP server; it cannot clash with a model endpoint's."""
    return f"mcp:{server}"


def endpoints(config: Config) -> dict[str, Endpoint]:
    """Return every HTTP upstream: model endpoints by their name, MCP servers as ``mcp:NAME``.

    Raises Problem PC7001 for a SPIFFE ID that is none, or that a plain connection cannot verify.
    """
    found = {
        name: Endpoint(
            url=model.url,
            credential=model.credential,
            header=API_KEY if model.shape == "anthropic" else BEARER,
            inject=model.inject,
            oauth=name if model.oauth is not None else None,
            svid=model.tls.svid,
            spiffe_id=_workload(name, model.url, model.tls),
        )
        for name, model in config.models.items()
    }
    for name, server in config.mcp.items():
        if server.url is not None:
            found[mcp_upstream(name)] = Endpoint(
                url=server.url,
                credential=server.credential,
                inject=server.inject,
                oauth=name if server.oauth is not None else None,
                svid=server.tls.svid,
                spiffe_id=_workload(name, server.url, server.tls),
            )
        elif server.tls.spiffe_id is not None:
            raise Problem("PC7001", f"{name} is a process: tls.spiffe_id cannot be verified")
    return found


def _workload(name: str, url: str, tls: UpstreamTls) -> SpiffeId | None:
    if tls.spiffe_id is None:
        return None
    if not url.startswith("https://"):
        raise Problem("PC7001", f"tls.spiffe_id of {name} needs an https URL")
    try:
        return parse(tls.spiffe_id)
    except Problem as problem:
        raise Problem("PC7001", f"tls.spiffe_id of {name}: {problem.detail}") from None


class Addresses:
    """Where one base URL leads: what to connect to, and which targets lie below it.

    ``host`` and ``port`` are for the connection, ``tls`` says whether it is encrypted;
    ``authority`` is the value of the Host header. Raises Problem PC7001 for a base URL with user
    information (a secret given by value), a fragment or no host.
    """

    __slots__ = ("_base", "_query", "authority", "host", "port", "tls")

    def __init__(self, name: str, base: str) -> None:
        try:
            url = URL(base)
        except ValueError:
            url = URL()
        if url.scheme not in {"http", "https"} or not url.raw_host or not url.port:
            raise Problem("PC7001", f"the URL of {name} is not an http or https URL with a host")
        if url.raw_user is not None or url.raw_password is not None:
            raise Problem("PC7001", f"the URL of {name} holds a credential; use `credential`")
        if url.raw_fragment:
            raise Problem("PC7001", f"the URL of {name} has a fragment")
        self.host = url.raw_host
        self.port = url.port
        self.tls = url.scheme == "https"
        self.authority = url.host_port_subcomponent or ""
        self._base = url.raw_path
        self._query = url.raw_query_string

    def target(self, path: str) -> str:
        """Return the request target of ``path`` below the base; the empty path is the base.

        Problem PC1010 for a path with dot segments, empty segments, percent-encoding (it could
        hide either) or a character that has no place in a path.
        """
        if not path:
            return f"{self._base}?{self._query}" if self._query else self._base
        if (
            not path.startswith("/")
            or not _PATH.fullmatch(path)
            or not {".", ".."}.isdisjoint(path.partition("?")[0].split("/"))
            or self._query
        ):
            raise Problem("PC1010", "the path does not lie below the upstream's address")
        return self._base.rstrip("/") + path
