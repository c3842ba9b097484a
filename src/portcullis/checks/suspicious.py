"""Argument values that are an attack's shape rather than data: one table of rules.

A rule applies to fields of some kind, which is read from the field's name (``customerId`` and
``customer_id`` are both of the words *customer* and *id*) and from its format in the tool's
schema. Prose, code and queries pass: ordinary text is never suspicious, an identifier with a
quote in it is. Rules look at one value at a time and are pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from portcullis.checks.destinations import inside

MAX_FIELD: Final = 4096
"""Characters in a field that names something (an identifier, an address, a path)."""

_ID: Final = frozenset({"id", "ids", "uuid", "guid", "sku", "slug", "number"})
_ADDRESS: Final = frozenset({"email", "mail", "to", "cc", "bcc", "from", "recipient", "sender"})
_PATH: Final = frozenset({"path", "file", "filename", "filepath", "dir", "directory", "folder"})
_URL: Final = frozenset({"url", "href", "webhook", "callback", "endpoint"})
_HOST: Final = frozenset({"host", "hostname", "ip"})
_REVISION: Final = frozenset({"branch", "revision", "rev", "ref", "refspec"})
_OPERAND: Final = _HOST | _REVISION | {"commit", "tag", "remote", "target"}
_NAMING: Final = (
    _ID | _ADDRESS | _PATH | _URL | _OPERAND | {"uri", "username", "login", "domain", "subject"}
)
_HEADERS: Final = frozenset({"header", "headers"})
_URL_FORMATS: Final = ("uri", "url", "iri")
_MAIL_FORMATS: Final = ("email", "idn-email")
_HOST_FORMATS: Final = ("hostname", "idn-hostname", "ipv4", "ipv6")
_FORMATS: Final = _URL_FORMATS + _MAIL_FORMATS + _HOST_FORMATS
_PROSE: Final = frozenset(
    {
        *("body", "code", "comment", "content", "contents", "data", "description", "diff"),
        *("html", "markdown", "message", "note", "notes", "patch", "prompt", "query", "reason"),
        *("source", "sql", "summary", "text", "title"),
    }
)
"""A field whose name ends in one of these is free text, whatever stands before it."""


@dataclass(frozen=True, slots=True)
class Field:
    """What a string's place says of it: the words of its name and its parent's, its format.

    Plurals are without their s. Items of a list go by the list's name; prose has no words.
    """

    words: frozenset[str]
    parent: frozenset[str] = frozenset()
    format: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """``applies`` picks the fields, ``matches`` is true for a suspicious value there."""

    name: str
    applies: Callable[[Field], bool]
    matches: Callable[[str], bool]


def _search(pattern: str) -> Callable[[str], bool]:
    found = re.compile(pattern).search
    return lambda value: found(value) is not None


def _words(*kinds: frozenset[str]) -> Callable[[Field], bool]:
    wanted = frozenset().union(*kinds)
    return lambda field: not wanted.isdisjoint(field.words)


def _is_url(field: Field) -> bool:
    if "uri" in field.words:
        return False
    return not _URL.isdisjoint(field.words) or field.format in _URL_FORMATS


def _is_line(field: Field) -> bool:
    one = _ADDRESS | _ID | _HOST | _URL | {"subject"}
    headers = field.words | field.parent
    return bool(one & field.words or _HEADERS & headers) or field.format in _MAIL_FORMATS


def _is_destination(field: Field) -> bool:
    """A place that a tool would connect to; only a ``uri`` may name what is no place at all."""
    named = not (_URL | _HOST | {"uri", "domain"}).isdisjoint(field.words)
    return named or field.format in _URL_FORMATS + _HOST_FORMATS


def _is_name(field: Field) -> bool:
    """A field for one name or address. Subjects and paths are left out: they are templated."""
    if not _PATH.isdisjoint(field.words) or "subject" in field.words:
        return False
    return not (_NAMING | {"name"}).isdisjoint(field.words) or bool(field.format)


RULES: Final = (
    # Tab, line feed, form feed and return are text; no other control character is.
    Rule("control-characters", lambda _: True, _search(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")),
    # Zero-width, bidirectional and tag characters make two names look like one.
    Rule(
        "hidden-characters",
        _words(_NAMING),
        _search("[\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"),
    ),
    Rule("overlong", _words(_NAMING), lambda value: len(value) > MAX_FIELD),
    # Header injection (CWE-93).
    Rule("line-break", _is_line, _search("[\r\n\u0085\u2028\u2029]")),
    # The same, percent-encoded once or oftener; a URL may carry a text with line feeds.
    Rule(
        "encoded-line-break",
        lambda field: _is_line(field) and _is_url(field),
        _search(r"(?i)%(25)*0d"),
    ),
    Rule(
        "encoded-line-break",
        lambda field: _is_line(field) and not _is_url(field),
        _search(r"(?i)%(25)*(0[ad]|c2%(25)*85|e2%(25)*80%(25)*a[89])"),
    ),
    # CWE-22, plain or percent-encoded.
    Rule(
        "path-traversal",
        _words(_PATH),
        _search(r"(?i)(^|[/\\]|%2f|%5c)(\.|%2e){2}($|[/\\]|%2f|%5c)"),
    ),
    # CWE-89: a quote, a comment or a second statement where an identifier belongs.
    Rule(
        "sql",
        _words(_ID),
        _search(r"""(?i)['"`]|;\s*[a-z]+\s|--(\s|$)|/\*|\*/|\bunion\s+(all\s+)?select\b"""),
    ),
    # CWE-88: a name that a command line would read as an option.
    Rule("option", _words(_OPERAND), _search(r"^-[^\d]")),
    # CWE-78.
    Rule("shell", _words(_HOST, _REVISION), _search(r"[;|&`<>\n]|\$\(")),
    # host:port is no scheme.
    Rule(
        "url-scheme",
        _is_url,
        _search(r"(?i)^\s*(?!https?:)[a-z][a-z0-9+.-]*:(?!\d+(/|$))"),
    ),
    # CWE-918.
    Rule("ssrf", _is_destination, inside),
    # CWE-1336: an expression of a template engine where a name belongs.
    Rule(
        "template",
        _is_name,
        _search(r"(?i)(\{|%7b){2}|[$#]\{|(\$|%24|%23)%7b|[{<]%(?![0-9a-f]{2})|%(7b|3c)%25|\[\[\$"),
    ),
    Rule("url-userinfo", _is_url, _search(r"(?i)^\s*[a-z][a-z0-9+.-]*:[/\\]*[^/\\?#]*@|\\")),
)


NAMES: Final = frozenset({rule.name for rule in RULES} | {"operator", "prototype"})
"""What policy may tolerate."""

_NOTHING: Final[Mapping[str, frozenset[str]]] = {}


def suspicious(
    arguments: Mapping[str, Any],
    schema: Mapping[str, Any],
    tolerated: Mapping[str, frozenset[str]] = _NOTHING,
) -> tuple[str, ...]:
    """What is suspicious, as ``field: rule``; ``schema`` is the tool's, for its formats.

    ``tolerated`` maps a top-level argument to the rules that do not hold in it nor in anything
    within it.
    """
    return tuple(
        f"{path}: {rule}"
        for name, value in arguments.items()
        for path, rule in _object({name: value}, schema, "", frozenset())
        if rule not in tolerated.get(name, frozenset())
    )


def _object(
    value: Mapping[str, Any], schema: Any, path: str, parent: frozenset[str]
) -> Iterator[tuple[str, str]]:
    properties = _part(schema, "properties")
    for key, item in value.items():
        where = f"{path}.{_shown(key)}" if path else _shown(key)
        if key == "__proto__":
            yield where, "prototype"
        yield from _value(item, _part(properties, key), where, _split(key), parent)


def _value(
    value: Any, schema: Any, path: str, words: frozenset[str], parent: frozenset[str]
) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        form = _part(schema, "format")
        for rule in _rules(Field(words, parent, form if form in _FORMATS else "")):
            if rule.matches(value):
                yield path, rule.name
    elif isinstance(value, Mapping):
        if not _ID.isdisjoint(words) and any(key.startswith("$") for key in value):
            yield path, "operator"
        yield from _object(value, schema, path, words)
    elif isinstance(value, list):
        items = _part(schema, "items")
        for index, item in enumerate(value):
            yield from _value(item, items, f"{path}[{index}]", words, parent)


def _part(schema: Any, key: str) -> Any:
    return schema.get(key) if isinstance(schema, Mapping) else None


@lru_cache(maxsize=1024)
def _rules(field: Field) -> tuple[Rule, ...]:
    return tuple(rule for rule in RULES if rule.applies(field))


@lru_cache(maxsize=1024)
def _split(key: str) -> frozenset[str]:
    """The words of a name in snake, kebab or camel case; none for prose."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", key[:128])
    words = re.findall(r"[a-z0-9]+", spaced.lower())
    if not words or words[-1] in _PROSE:
        return frozenset()
    return frozenset(words) | {word.removesuffix("s") for word in words}


def _shown(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_$-]{1,64}", key) else "?"
