"""What servers have listed of their resources: all that an agent may read while it is observed.

A URI that an agent makes up may carry data out, to a server that fetches what it names. So may an
address in the arguments of a prompt, of which nobody has said what becomes of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from portcullis.core.limits import fits

MOST_SERVERS: Final = 256
MOST_NAMES: Final = 10_000
"""Of a server's, of each kind; the oldest are forgotten."""
MOST_TEMPLATES: Final = 100
_VARIABLE: Final = re.compile(r"\{[+]?[A-Za-z0-9_.]{1,64}\}")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_WEB: Final = re.compile(
    r"(?:[a-z0-9.+-]+\+)?(?:https?|wss?|s?ftps?|ssh|git|file|smb|nfs|ldaps?|s3|gs):", re.IGNORECASE
)
"""Schemes by which programs fetch from whatever host is named."""
_HOST: Final = re.compile(r"(?:file://|[A-Za-z0-9+.-]+://[^/?#{}*]+)/", re.IGNORECASE)
_ANOTHER: Final = re.compile(r":.*(?:https?|wss?|ftps?)(?::|%3a)", re.IGNORECASE | re.DOTALL)
_ADDRESS: Final = re.compile(r"//|\\\\|[A-Za-z](?::|%3a)(?:/|%2f)", re.IGNORECASE)
_TOO_MUCH: Final = re.compile(r"[?#*{}]")


def addressed(value: Any) -> bool:
    """Whether a text in it, or a member's name, is or holds an address (``https://...``)."""
    if isinstance(value, str):
        return _ADDRESS.search(value) is not None
    if isinstance(value, dict):
        return any(addressed(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(map(addressed, value))


class Listed:
    """Remembers what this process has seen in lists of resources and of their templates."""

    def __init__(self) -> None:
        self._resources: dict[str, dict[str, None]] = {}
        self._templates: dict[str, dict[str, None]] = {}

    def note(self, kind: str, server: str, names: Iterable[str]) -> None:
        """Remember names of a list; those of another kind than resources and templates are none."""
        if kind == "resources":
            _keep(self._resources, server, names, MOST_NAMES)
        elif kind == "resource_templates":
            _keep(self._templates, server, filter(_usable, names), MOST_TEMPLATES)

    def has(self, server: str, uri: str) -> bool:
        """Whether the server has listed it, or a template that it fits without a query."""
        templates = self._templates.get(server, {})
        if uri in self._resources.get(server, {}) or uri in templates:
            return True
        if _TOO_MUCH.search(uri) or _ANOTHER.search(uri):  # an address within the address
            return False
        return any(fits(_VARIABLE.sub("*", one), uri) for one in templates)


def _keep(known: dict[str, dict[str, None]], server: str, names: Iterable[str], most: int) -> None:
    if server not in known and len(known) >= MOST_SERVERS:
        known.pop(next(iter(known)))
    mine = known.setdefault(server, {})
    for name in names:
        mine.pop(name, None)
        mine[name] = None
        if len(mine) > most:
            mine.pop(next(iter(mine)))


def _usable(template: str) -> bool:
    """Whether it fixes where it leads: its scheme, on the web its host, and no query anywhere."""
    if _TOO_MUCH.search(_VARIABLE.sub("", template)) or not _SCHEME.match(template):
        return False
    return _WEB.match(template) is None or _HOST.match(template) is not None
