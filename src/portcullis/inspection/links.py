"""Where a URL leads, as a browser would read it, and whether it carries data away.

A link that a model writes is a way out of the house: an image is fetched when the answer is
shown, and whatever stands in its URL is in somebody's log. ``hosts`` follows the URL Standard
(WHATWG, section 4.4) rather than RFC 3986, since browsers do: backslashes are slashes, tabs and
line breaks are not there, any number of slashes begins the authority.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import unquote, unquote_plus

_STRIPPED: Final = re.compile("[\x00-\x20\x7f\u00ad\u200b-\u200f\u2060\ufeff]")
_URL: Final = re.compile(
    r"(?:[a-z][a-z0-9+.-]{0,30}:[/\\]{1,8}|(?<![a-z0-9:/\\])[/\\]{2})([^\s\"'`<>()\[\]{}|,]*)"
    r"|(?:https?|wss?|ftp):([^\s\"'`<>()\[\]{}|,/\\]+)",
    re.IGNORECASE,
)
_ENDS: Final = re.compile(r"[/\\?#]")
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\]")
_REST: Final = re.compile(r"[^\s\"'`<>]*")
_RUN: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_MIXED: Final = re.compile(r"[a-z].*[A-Z]|[A-Z].*[a-z]|[0-9]")
_MAIL: Final = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]{2,63}")
_PLAIN: Final = re.compile(
    r"(?i)[\w-]{0,3}|[v@]?\d{0,5}([.x:-]\d{1,5}){0,3}|true|false|auto|none|full"
)
_RENDERING: Final = frozenset(
    "api as badge branch color colour crop dark density display dpi dpr event ext family fit fm "
    "fontsize format frame gravity h height icon id job label labelcolor lang language layout link "
    "locale logo logocolor logowidth metric mode name order package precision quality query raw ref "
    "resize rev revision s sanitize scale service size sort source status style subset svg t tag "
    "theme title ts type utm_campaign utm_medium utm_source v ver version w weight width".split()
)
"""Names of what pictures, badges, fonts and scripts are asked for with."""

_LONG_USER: Final = 24
_LONG_LABEL: Final = 24
_LONG_QUERY: Final = 200
_LONGEST_QUERY: Final = 800
_LEAST: Final = 9
_LEAST_LOADED: Final = 5
_URL_SAFE: Final = str.maketrans("-_", "+/")
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
        _carries(_REST.findall(flat, max(one.start(1), one.start(2)))[0], loaded=loaded)
        for one in _URL.finditer(flat)
    )


def _carries(url: str, *, loaded: bool) -> bool:
    before, _, fragment = url.replace("\\", "/").rstrip(")]}.,;:!?*_~").partition("#")
    before, _, query = before.partition("?")
    authority, *segments = before.split("/")
    user, _, name = authority.rpartition("@")
    if user and (loaded or len(user) >= _LONG_USER or _disguised(user, _LEAST)):
        return True
    if any(_coded(label) for label in name.split(".")):
        return True
    if len(query) + len(fragment) > (_LONG_QUERY if loaded else _LONGEST_QUERY):
        return True
    if any(_tells(unquote(segment), loaded=loaded, least=_LEAST) for segment in segments):
        return True
    members = [part.partition("=") for part in re.split("[&;]", query) if part]
    if loaded and not all(_rendering(key, unquote_plus(value)) for key, _, value in members):
        return True
    values = [value or key for key, _, value in members] + re.split("[&=]", fragment)
    least = _LEAST_LOADED if loaded else _LEAST
    return any(_tells(unquote_plus(value), loaded=loaded, least=least) for value in values)


def _rendering(name: str, value: str) -> bool:
    """Whether a member of a query is of the kind that pictures and scripts are asked for with."""
    if not value:
        return len(name) <= 8 or name.lower() in _RENDERING  # noqa: PLR2004 - a version or a switch
    return _PLAIN.fullmatch(value) is not None or (
        name.lower() in _RENDERING and len(value) <= 64  # noqa: PLR2004 - a label
    )


def _tells(value: str, *, loaded: bool, least: int) -> bool:
    """Whether a decoded value holds a text of several words, an address, a number of a card."""
    words = len(re.findall(r"[^\W\d_]{2,}(?=[ \t\n\r]|$)", value))
    if words >= (4 if loaded else 12) or (_MAIL.search(value) and "/" not in value):
        return True
    return any(_disguised(run, least) for run in _RUN.findall(value))


def _disguised(run: str, least: int) -> bool:
    """Whether a run of characters is base64, base32 or hexadecimal of ``least`` bytes of text."""
    return any(
        len(plain) >= least and _is_text(plain)
        for plain in (_base64(run), _hexadecimal(run), _base32(run))
    )


def _is_text(plain: bytes) -> bool:
    try:
        text = plain.decode()
    except UnicodeDecodeError:
        return False
    usual = sum(one.isalnum() or one in " .,:;@_-/\"'{}=&" for one in text)
    letters = sum(map(str.isalpha, text))
    return text.isprintable() and usual >= 0.9 * len(text) and 2 * letters >= len(text)


def _base64(run: str) -> bytes:
    text = run.rstrip("=").translate(_URL_SAFE)
    if not _MIXED.search(text):
        return b""
    return _undone(
        lambda: base64.b64decode(text[: len(text) - (len(text) % 4 == 1)] + "==="[: -len(text) % 4])
    )


def _hexadecimal(run: str) -> bytes:
    return _undone(lambda: bytes.fromhex(run))


def _base32(run: str) -> bytes:
    text = run.rstrip("=").upper()
    return _undone(lambda: base64.b32decode(text + "=" * (-len(text) % 8)))


def _undone(decode: Callable[[], bytes]) -> bytes:
    try:
        return decode()
    except (ValueError, binascii.Error):
        return b""


def _coded(label: str) -> bool:
    """Whether a label of a host name is data for whoever answers for the domain."""
    if label.startswith("xn--") or len(label) < _LONG_LABEL:
        return False
    digits = sum(map(str.isdigit, label))
    return digits >= 3 or _disguised(label, _LEAST)  # noqa: PLR2004 - names of machines have two


def _listed(name: str | None, listed: Iterable[str]) -> bool:
    if name is None:
        return False
    return any(
        name == one or (name.endswith(f".{one}") and not one.rpartition(".")[2].isdigit())
        for one in listed
    )
