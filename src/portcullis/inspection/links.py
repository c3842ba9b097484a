"""Where a URL leads, as a browser would read it, and whether it carries data away.

A link that a model writes is a way out of the house: an image is fetched when the answer is
shown, and whatever stands in its URL is in somebody's log. ``hosts`` follows the URL Standard
(WHATWG, section 4.4) rather than RFC 3986, since browsers do: backslashes are slashes, tabs and
line breaks are not there, any number of slashes begins the authority.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

_STRIPPED: Final = re.compile("[\x00-\x20\x7f\u00ad\u200b-\u200f\u2060\ufeff]")
_URL: Final = re.compile(
    r"(?:[a-z][a-z0-9+.-]{0,30}:[/\\]{1,8}|(?<![a-z0-9:/\\])[/\\]{2})([^\s\"'`<>()\[\]{}|,]*)"
    r"|(?:https?|wss?|ftp):([^\s\"'`<>()\[\]{}|,/\\]+)",
    re.IGNORECASE,
)
_ENDS: Final = re.compile(r"[/\\?#]")
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\]")
_DOTS: Final = str.maketrans("\u3002\uff0e\uff61", "...")


def authorities(markup: str) -> tuple[str, ...]:
    """What stands between the slashes of every absolute or scheme-relative URL of a text."""
    flat = re.sub(r"[\t\r\n]", "", markup)
    return tuple(
        _ENDS.split(one.group(1) or one.group(2) or "", maxsplit=1)[0]
        for one in _URL.finditer(flat)
    )


def host(authority: str) -> str | None:
    """The host of an authority: lower case, ASCII (IDNA), without port and trailing dot.

    None for what is not surely a host, and wherever user information stands before it: such a
    URL is made to be misread.
    """
    text = _STRIPPED.sub("", unicodedata.normalize("NFKC", unquote(authority))).translate(_DOTS)
    if "@" in text or "\\" in text:
        return None
    name, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if colon and not (port == "" or (port.isascii() and port.isdigit())):
        return None
    name = (name if colon else text).lower().removesuffix(".")
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    return name if _HOST.fullmatch(name) else None


def foreign(url_or_markup: str, hosts: Iterable[str]) -> bool:
    """Whether any URL in a link's text or markup leads elsewhere than to ``hosts``.

    A listed host includes its subdomains; an address (IP literal) stands only for itself. What
    cannot be read as a URL with a plain host is foreign, and so is a text without one.
    """
    found = authorities(url_or_markup)
    listed = [one for name in hosts if (one := host(name)) is not None]
    return not found or not all(_listed(host(one), listed) for one in found)


def carries(markup: str, *, loaded: bool) -> bool:
    """Whether the URL in a link's markup carries data out.

    What is ``loaded`` as soon as it is shown is judged strictly: any value in its query that is
    not of the kind that pictures are asked for with. A link that somebody has to follow may carry
    a search, an identifier or a signature; not a text in disguise, not an essay.
    """
    flat = re.sub(r"[\t\r\n]", "", markup)
    return any(
        _carries(one.group(1) or one.group(2) or "", flat[one.end() :], loaded=loaded)
        for one in _URL.finditer(flat)
    )


def _carries(authority: str, rest: str, *, loaded: bool) -> bool: ...


def _listed(name: str | None, listed: Iterable[str]) -> bool:
    if name is None:
        return False
    return any(
        name == one or (name.endswith(f".{one}") and not one.rpartition(".")[2].isdigit())
        for one in listed
    )
