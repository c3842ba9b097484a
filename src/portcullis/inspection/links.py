"""Where a URL leads, as a browser would read it, and whether it carries data away.

A link list that a model writes is a way out of the house: an image is fetched when the answer is
shown, and whatever stands in its URL is in somebody's log. ``hosts`` follows the URL Standard
(WHATWG, section 4.4) rather than RFC 3986, since browsers do: backslashes are slashes, tabs and
line breaks are not there, any number of slashes begins the authority.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterable
from itertools import islice
from typing import Final
from urllib.parse import unquote, unquote_plus

_STRIPPED: Final = re.compile("[\x00-\x20\x7f\u00ad\u200b-\u200f\u2060\ufeff]")
_URL: Final = re.compile(
    r"(?:[a-z][a-z0-9+.-]{0,30}:[/\\]{1,8}|(?<![a-z0-9:/\\])[/\\]{2})([^\s\"'`<>()\[\]{}|,]*)"
    r"|(?:https?|wss?|ftp):([^\s\"'`<>()\[\]{}|,/\\]+)"
    r"|(?<![\w/.@-])(www\.[^\s\"'`<>()\[\]{}|,]*)",
    re.IGNORECASE,
)
_ENDS: Final = re.compile(r"[/\\?#]")
_USER: Final = re.compile(r"[^\s<>/?#]{0,2049}")
_QUOTED_USER: Final = re.compile(r"[^\"'<>/?#]{0,2049}")
"""What may stand before a host, by one parser of URLs or another."""
_LENGTHENED: Final = re.compile(r"[`'(){},]+\.?[^\W_]")
"""What a name goes on with for browsers, and mostly not in a text."""
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\]")
_OPENED: Final = re.compile(r"(?:[=(]\s*(?=[\"'])|(?:\]\(|\A)\s*(?=<))([\"'<])[^\"'<]*\Z")
_CLOSED: Final = {
    sign: re.compile(rf"(?<!\\){end}") for sign, end in zip("\"'<", "\"'>", strict=True)
}
_SEVERAL: Final = re.compile(r"srcset\s*=\s*[\"'][^\"']*\Z", re.IGNORECASE)
_NEXT: Final = re.compile(r"\s")
_REST: Final = re.compile(r"[^\s>]*")
_RUN: Final = re.compile(r"[A-Za-z0-9+/_-]{8,}")
_PLAIN_URL: Final = re.compile(r"[^/\\?#%@]{0,23}(?:[/\\][^/\\?#%@]{0,11})*")
_HEXADECIMAL: Final = re.compile(r"[0-9a-fA-F]+")
_BASE32: Final = re.compile(r"[A-Z2-7]{8,}|[a-z2-7]{8,}")
_MIXED: Final = re.compile(r"[a-z].*[A-Z]|[A-Z].*[a-z]|[0-9]")
_WORDS: Final = re.compile(r"[^\W\d_]{2,}(?=\s|$)")
_MAIL: Final = re.compile(r"[\w.+-]{1,64}@[A-Za-z][\w.-]{0,62}\.[A-Za-z]{2,24}")
_PLAIN: Final = re.compile(
    r"(?i)[\w-]{0,3}|(?=.{0,9}$)[v@]?\d{0,5}([.x:-]\d{1,5}){0,3}|true|false|auto|none|full"
)
_RENDERING: Final = frozenset(
    {
        *("api", "as", "autoplay", "badge", "branch", "color", "colour", "crop", "dark", "density"),
        *("display", "dpi", "dpr", "ext", "family", "fit", "fm", "fontsize", "format", "frame"),
        *("gravity", "h", "height", "icon", "id", "job", "label", "labelcolor", "lang", "language"),
        *("layout", "list", "locale", "logo", "logocolor", "logowidth", "max", "metric", "mode"),
        *("order", "package", "precision", "quality", "ref", "rel", "repo", "resize", "rev"),
        *("revision", "s", "sanitize", "scale", "service", "si", "size", "sort", "start", "status"),
        *("style", "subset", "svg", "tag", "theme", "ts", "type", "utm_campaign", "utm_medium"),
        *("utm_source", "v", "ver", "version", "w", "weight", "width"),
    }
)
"""Names of what pictures, badges, fonts and scripts are asked for with."""

_MOST_URLS: Final = 32
"""In one link; one with more of them carries whatever it likes."""
_LONGEST_HOST: Final = 2048
_NEARBY: Final = 64
_LONG_USER: Final = 24
_LONG_LABEL: Final = 24
_MOST_LABELS: Final = 6
_MANY_DIGITS: Final = 13
_LONG_QUERY: Final = 200
_LONGEST_QUERY: Final = 800
_LEAST: Final = 9
_LEAST_LOADED: Final = 5
_URL_SAFE: Final = str.maketrans("-_", "+/")
_DOTS: Final = str.maketrans("\u3002\uff0e\uff61", "...")


def authorities(markup: str) -> tuple[str, ...]:
    """What stands between the slashes of every absolute or scheme-relative URL of a text.

    ``www.`` at the beginning of a word is one, since many show it as a link.
    """
    flat = re.sub(r"[\t\r\n]", "", markup)
    return tuple(_authority(flat, one) for one in _URL.finditer(flat))


def _authority(markup: str, url: re.Match[str]) -> str:
    """Up to where it ends for a text; up to its user's end, or longer, where others read on."""
    start = max(map(url.start, (1, 2, 3)))
    name = _ENDS.split(markup[start : url.end()], maxsplit=1)[0]
    end = start + len(name)
    if markup[end : end + 1] in {"/", "?", "#"}:
        return name
    opened = _OPENED.search(markup, max(url.start() - _NEARBY, 0), url.start())
    user = (_QUOTED_USER if opened else _USER).match(markup, end)
    if user and ("@" in user[0] or len(user[0]) > _LONGEST_HOST):
        return markup[start : user.end()]
    longer = _LENGTHENED.match(markup, end)
    return markup[start : longer.end()] if longer else name


def host(authority: str) -> str | None:
    """The host of an authority: lower case, ASCII (IDNA), without port and trailing dot.

    None for what is not surely a host, and wherever user information stands before it: such a
    URL is made to be misread.
    """
    if len(authority) > _LONGEST_HOST:  # normalising takes the square of its length
        return None
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
    urls = list(islice(_URL.finditer(flat), _MOST_URLS))
    return len(urls) == _MOST_URLS or any(
        _carries(_from(flat, one.start(), max(map(one.start, (1, 2, 3)))), loaded=loaded)
        for one in urls
    )


def _from(markup: str, begin: int, start: int) -> str:
    """A URL without its scheme; within quotes or angle brackets, spaces are part of it."""
    opened = _OPENED.search(markup, 0, begin)
    if opened is None:
        rest = _REST.match(markup, start)
        return rest[0] if rest else ""
    end = _CLOSED[opened[1]].search(markup, start)
    quoted = markup[start : end.start() if end else len(markup)].rstrip()
    if _SEVERAL.search(markup, 0, begin):
        quoted = _NEXT.split(quoted, maxsplit=1)[0]
    return quoted.replace(" ", "%20")


def _carries(url: str, *, loaded: bool) -> bool:
    if _PLAIN_URL.fullmatch(url):
        return False
    trimmed = url.replace("\\", "/").rstrip(")]}.,;:!?*_~\"'`")
    before, _, fragment = trimmed.partition("#")
    before, _, query = before.partition("?")
    authority, *segments = before.split("/")
    user, _, name = authority.rpartition("@")
    return (
        bool(user and (loaded or len(user) >= _LONG_USER or _disguised(user, _LEAST)))
        or any(map(_coded, name.split(".")))
        or (loaded and _spelt(name))
        or any(_tells(unquote(segment), words=12, least=_LEAST) for segment in segments)
        or _asks(query, fragment, loaded=loaded)
    )


def _asks(query: str, fragment: str, *, loaded: bool) -> bool:
    """Whether a query or a fragment is longer or says more than such a link needs."""
    if len(query) + len(fragment) > (_LONG_QUERY if loaded else _LONGEST_QUERY):
        return True
    members = [part.partition("=") for part in re.split("[&;]", query) if part]
    if loaded and not all(_rendering(key, unquote_plus(value)) for key, _, value in members):
        return True
    values = [part for key, _, value in members for part in (key, value)]
    values += re.split("[&=]", fragment)
    words, least = (4, _LEAST_LOADED) if loaded else (12, _LEAST)
    return any(_tells(unquote_plus(value), words=words, least=least) for value in values)


def _rendering(name: str, value: str) -> bool:
    """Whether a member of a query is of the kind that pictures and scripts are asked for with."""
    if not value:
        return len(name) <= 8 or name.lower() in _RENDERING  # noqa: PLR2004 - a version or a switch
    return _PLAIN.fullmatch(value) is not None or (
        name.lower() in _RENDERING and len(value) <= 32  # noqa: PLR2004 - a label
    )


def _tells(value: str, *, words: int, least: int) -> bool:
    """Whether a decoded value is a text of so many words, an address or a text in disguise."""
    if len(_WORDS.findall(value)) >= words or (_MAIL.search(value) and "/" not in value):
        return True
    return any(_disguised(run, least) for run in _RUN.findall(value))


def _disguised(run: str, least: int) -> bool:
    """Whether a run of characters is base64, base32 or hexadecimal of ``least`` bytes of text."""
    text = run.rstrip("=")
    if _HEXADECIMAL.fullmatch(text) and len(text) % 2 == 0 and _is_text(bytes.fromhex(text), least):
        return True
    if _BASE32.fullmatch(text):
        padded = text.upper() + "=" * (-len(text) % 8)
        try:
            if _is_text(base64.b32decode(padded), least):
                return True
        except binascii.Error:
            pass  # not every length is one of base32's; it may be base64 yet
    if not _MIXED.search(text):
        return False
    whole = text[: len(text) - (len(text) % 4 == 1)].translate(_URL_SAFE)
    try:
        return _is_text(binascii.a2b_base64(whole + "=" * (-len(whole) % 4)), least)
    except ValueError:
        return False  # padding in its middle, or other letters


def _is_text(plain: bytes, least: int) -> bool:
    if len(plain) < least:
        return False
    try:
        text = plain.decode()
    except UnicodeDecodeError:
        return False
    usual = sum(one.isalnum() or one in " .,:;@_-/\"'{}=&" for one in text)
    letters = sum(map(str.isalpha, text))
    return text.isprintable() and usual >= 0.9 * len(text) and 2 * letters >= len(text)


def _coded(label: str) -> bool:
    """Whether a label of a host name is data for whoever answers for the domain."""
    if label.startswith("xn--") or len(label) < _LONG_LABEL:
        return False
    digits = sum(map(str.isdigit, label))
    return digits >= 3 or _disguised(label, _LEAST)  # noqa: PLR2004 - names of machines have two


def _spelt(name: str) -> bool:
    """Whether a host's name has more labels or digits than hosts of pictures have."""
    return name.count(".") > _MOST_LABELS or sum(map(str.isdigit, name)) >= _MANY_DIGITS


def _listed(name: str | None, listed: Iterable[str]) -> bool:
    if name is None:
        return False
    return any(
        name == one or (name.endswith(f".{one}") and not one.rpartition(".")[2].isdigit())
        for one in listed
    )
