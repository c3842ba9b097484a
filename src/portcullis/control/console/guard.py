"""What a request must be before the console looks at it: for our host, from our own pages."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from portcullis.config.console import LOCAL_NAME
from portcullis.core.errors import Problem
from portcullis.wire.target import origin as named_origin

FIELD: Final = "csrf"
"""The hidden field of every form; a module may send it as the header ``x-csrf`` instead."""
HOME: Final = "/"

_MAX_FIELDS: Final = 64
_FORM: Final = "application/x-www-form-urlencoded"
_PATH: Final = re.compile(r"/(?![/\\])[A-Za-z0-9/_.~%?&=:@,+-]{0,500}")
_NOT_BACK_TO: Final = ("/login", "/logout", "/api/", "/console/", "/events")


def own_url(control: str, name: str = LOCAL_NAME) -> str:
    """The console by its own name on this machine, on the control listener at ``control``."""
    return f"http://{name}:{urlsplit(control).port}"


@dataclass(frozen=True, slots=True)
class Hosts:
    """Under which origins a browser may reach the console.

    ``names`` are our names on the listener itself; ``origin`` is the one that a proxy serves us
    under, or None. Anything else is a page of somebody's whose name was made to point to us (DNS
    rebinding), or a proxy that does not say under which name it was asked.
    """

    names: frozenset[str]
    origin: str | None

    @classmethod
    def of(cls, names: Collection[str], origin: str | None) -> Hosts:
        """Compare without case."""
        return cls(frozenset(name.lower() for name in names), origin)

    def asked(self, request: Request) -> str:
        """The origin that the browser asked. Raises Problem PC2080 when it is none of ours."""
        host = request.headers.get("host", "").lower()
        if self.origin is not None and host == urlsplit(self.origin).netloc:
            return self.origin
        found = named_origin(request.scope, host, self.names)
        if found != f"{request.scope.get('scheme', 'http')}://{host}":
            raise Problem("PC2080", "the Host header is none of this console's names")
        return found


def own_page(request: Request, origin: str) -> None:
    """Refuse what a page of ours did not send (Fetch Metadata, RFC 6454). Raises Problem PC2081.

    Browsers put an Origin on every POST and say where it came from; whoever says nothing is no
    browser, and has the API.
    """
    if request.headers.get("origin") != origin:
        raise Problem("PC2081", "the Origin header is not this console's")
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise Problem("PC2081", "Sec-Fetch-Site says that another site sent it")


def led_here(request: Request) -> bool:
    """Whether another site, or another port of this host, had the browser ask for this."""
    return request.headers.get("sec-fetch-site", "none") in {"cross-site", "same-site"}


class Csrf:
    """Tokens that only the pages of one login know: an HMAC-SHA256 over its credential's id."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def token(self, credential: str) -> str:
        """The token of the login that has this credential."""
        return hmac.new(self._key, b"csrf\0" + credential.encode(), hashlib.sha256).hexdigest()

    def check(self, credential: str, request: Request, form: Mapping[str, str]) -> None:
        """Raise Problem PC2081 unless the form or the header ``x-csrf`` has the login's token."""
        shown = form.get(FIELD) or request.headers.get("x-csrf", "")
        if not hmac.compare_digest(self.token(credential).encode(), shown.encode()):
            raise Problem("PC2081", "the form is not of this login", hint="Load the page again.")


def fields(request: Request, body: bytes) -> dict[str, str]:
    """The fields of a form, each given once, at most 64. Raises Problem PC1008, PC1013, PC1020."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM:
        raise Problem("PC1008", f"the body must be {_FORM}")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("PC1013", "the body is compressed")
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError:
        raise Problem("PC1020", "the form is malformed") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Problem("PC1020", "the form has a field twice")
    return found


def only(form: Mapping[str, str], *names: str) -> None:
    """Raise Problem PC1021 for a field that is none of ``names``."""
    if not {FIELD, *names}.issuperset(form):
        raise Problem("PC1021", "the form has an unknown field")


def way_back(path: str) -> str:
    """Where to go after a login: ``path`` when it is a page of ours, else the inbox.

    Only an absolute path of plain characters: no other host, no scheme, nothing (two slashes, a
    backslash) that browsers take for one.
    """
    if not _PATH.fullmatch(path) or path.startswith(_NOT_BACK_TO):
        return HOME
    return path
