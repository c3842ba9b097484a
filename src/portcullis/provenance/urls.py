"""Normal forms of URLs and host names (RFC 3986, section 6.2; RFC 5891 for names).

Whoever reads a URL in another way than this must not be led elsewhere: what readers take for
different things (backslashes, controls, user information, broken escapes) stays as it was written,
and so equals only the same writing.
"""

from __future__ import annotations

import re
from typing import Final

import idna

_URL: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>[^/?#@:\\\s]+)(?::(?P<port>[0-9]{0,5}))?"
    r"(?P<rest>(?:[/?#][^\\\s]*)?)"
)
_BARE: Final = re.compile(
    r"(?P<host>(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+(?P<top>[^\W\d_]{2,24}|xn--[A-Za-z0-9-]{2,59}))\.?"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<rest>(?:[/?#][^\\\s]*)?)"
)
_BEFORE: Final = re.compile(r"[^/?#:]{3,255}(?:[/?#:]|\Z)")
_PIECE: Final = re.compile(r"[\w.-]++(?::[0-9]{1,5})?(?:[/?#][^\s\\]*)?")
_LED: Final = re.compile(r"(?i)(?:[/\\]{2}|(?:https?|wss?|ftp):[/\\]*)([\w.-]+)")
"""A host behind what makes readers look for one: slashes, or a scheme."""
_ADDRESS: Final = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w.])")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_PORTS: Final = {"http": "80", "https": "443", "ftp": "21", "ws": "80", "wss": "443"}
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_COMMON: Final = frozenset(
    {"com", "org", "net", "edu", "gov", "mil", "int", "info", "biz", "name", "dev", "app", "cloud"}
    | {"online", "site", "shop", "store", "blog", "page", "link", "click", "xyz", "top", "live"}
    | {"news", "email", "tech", "example"}
)
_FILES: Final = frozenset(
    {"cc", "gz", "js", "la", "md", "mk", "pl", "ps", "py", "rs", "sh", "so", "tf", "ts", "vi", "db"}
    | {"cs", "go", "kt", "ml", "mm", "rb", "am", "as", "pm", "id", "eg", "ie", "vs", "al"}
)
"""Domains of countries that a text rather means as the ending of a file or an abbreviation."""
_STRAY: Final = re.compile('[<>"`|{}\u3002\uff0e\uff61]')
_TWO: Final = 2
_LONGEST_NAME: Final = 253
TRAILING: Final = ".,;:!?)]'*/"
"""What ends a URL in a text and is hardly ever part of it."""


def hostlike(token: str) -> bool:
    """Whether a word without a scheme is a host name, with a path or without.

    ``notes.md`` and ``report.txt`` are files; ``www.``, a path or a usual domain make a host.
    """
    if "." not in token or "@" in token:
        return False
    found = _BARE.fullmatch(token) if _BEFORE.match(token) else None
    if found is None:
        return False
    top = found["top"].lower()
    return (
        token[:4].lower() == "www."
        or found["rest"] != ""
        or top in _COMMON
        or (len(top) == _TWO and top not in _FILES)
    )


def hosts(token: str) -> tuple[str, ...]:
    """The hosts and addresses within a word, whatever stands around them, in normal form."""
    pieces = [piece.strip("./:-_") for piece in _PIECE.findall(token)]
    led = (one for one in _LED.findall(token) if _BARE.fullmatch(one))
    pieces += [f"{one}/" for one in led]
    return tuple(normal(one) for one in pieces if hostlike(one) or _ADDRESS.match(one))


def normal(url: str) -> str:
    """A URL, or a host with a path, in its normal form; what has none stays as it is."""
    found = _URL.fullmatch(url)
    scheme = found["scheme"].lower() if found else ""
    found = found or _BARE.fullmatch(url)
    if found is None or not url.isprintable():
        return url
    port = (found["port"] or "").lstrip("0")
    port = "" if port in {"", _PORTS.get(scheme, "")} else f":{port}"
    rest = _ESCAPE.sub(_escape, found["rest"])
    path, mark, tail = _split(rest)
    path = (_segments(path) or "/") if mark else _segments(path).rstrip("/")
    rest = f"{path}{mark}{tail}".rstrip(TRAILING)
    return f"{scheme}{'://' if scheme else ''}{domain(found['host'])}{port}{rest}"


def faithful(url: str) -> bool:
    """Whether a URL, or a host with a path, is written in its normal form.

    Case and ports of hosts and one slash at the end apart: what else a normal form evens out, such
    as escapes and dot segments, goes out as it stands, and says something.
    """
    found = _URL.fullmatch(url) or _BARE.fullmatch(url)
    if found is None:
        return "://" not in url
    plain = _STRAY.search(url) is None and not found["host"].endswith(".")
    return plain and normal(url).endswith(found["rest"].removesuffix("/"))


def written(text: str) -> set[str]:
    """The keys of the URLs in a text that are good for this writing only."""
    found: set[str] = set()
    for piece in text.split():
        if "://" in piece or ("." in piece and not piece.isalpha()):
            bare = piece.lstrip("\"'(<[").rstrip("\"'>,;")
            found |= {
                f"={one}" for one in (piece, bare, bare.rstrip(TRAILING)) if not faithful(one)
            }
    return found


def domain(name: str) -> str:
    """A host name in lower case and ASCII (A-labels), without its trailing dot."""
    text = name.lower().rstrip(".")
    if text.isascii() or len(text) > _LONGEST_NAME:
        return text
    try:
        return idna.encode(text).decode("ascii")
    except idna.IDNAError:
        return text


def variants(url: str) -> set[str]:
    """What somebody who wrote this also means.

    With ``https`` in any case, with ``http`` unless they wrote ``https``, and without either.
    """
    scheme, sign, rest = url.partition("://")
    if not sign:
        return {url, f"https://{url}", f"http://{url}"}
    if scheme == "http":
        return {url, f"https://{rest}", rest}
    return {url, rest} if scheme == "https" else {url}


def _escape(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if character in _UNRESERVED else found[0].upper()


def _split(rest: str) -> tuple[str, str, str]:
    at = min((place for sign in "?#" if (place := rest.find(sign)) >= 0), default=len(rest))
    return rest[:at], rest[at : at + 1], rest[at + 1 :]


def _segments(path: str) -> str:
    """A path without dot segments (RFC 3986, section 5.2.4)."""
    if "/." not in path:
        return path
    found: list[str] = []
    for part in path.split("/")[1:]:
        if part == "..":
            found = found[:-1]
        elif part != ".":
            found.append(part)
    return "/" + "/".join(found)
