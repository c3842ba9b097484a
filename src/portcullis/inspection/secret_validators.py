"""Whether what stands where a secret belongs is one, and whether a link carries data away.

Like all validators: the datum as it stands in the text in, yes or no out, in microseconds, never
an exception. The rules that use them have looked at the words around the datum already.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from typing import Final

from portcullis.inspection.engines import ANYWHERE, compiled
from portcullis.inspection.links import carries

_PLACEHOLDERS: Final = (
    # Substitution, masking, ellipsis.
    *(r"\$\{", r"\$\(", r"\{\{", r"\}\}", r"<[^<>]*>", r"%[a-z_]{2,40}%", r"^\$[a-z_][a-z0-9_]*$"),
    *(r"^\[.*\]$", r"^\{.*\}$", r"\*{3}", r"\.{3}", r"\xe2\x80\xa6", r"(\xe2\x80\xa2){3}"),
    *("x{4}", "-{4}", "_{4}"),
    # Words for what is to be put here.
    *("your", "my[-_]?(?:secret|token|key|pass|api|access)", "example", "sample", "placeholder"),
    *("dummy", "change[-_]?me", "replace", "insert", "redacted", "removed", "hidden", "censored"),
    *("todo", "fixme", "(?:^|[^a-z])fake"),
    "(?:api|access|secret|auth|private)[-_]?(?:key|token|secret)$",
    # Types, and values that mean none.
    (
        "^(?:test|demo|foo|bar|baz|none|null|nil|undefined|true|false|string|str|text|bool(?:ean)?"
        "|int(?:eger)?|number|bytes|object|required|optional|env|unset|empty|default|value|varchar"
        "|char|secretstr|any|float|type|void)(?:[^a-z0-9_-].*)?$"
    ),
    # A digest that says it is one.
    "^(?:sha(?:1|224|256|384|512)|md5|h1|blake[23][bs]?|bcrypt)[-:=_]",
)
_CODE: Final = (
    # What a program reads it from: an object's member, a call, an address, a file.
    (
        r"^(?:process|os|self|this|cls|config|settings|secrets|vars?|env|data|local|module|params?"
        r"|inputs?|github|request|req|args|options|opts|ctx|context|c|props|state|steps|app|server"
        r"|client|user|values)[.\[]"
    ),
    r"^[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*){0,8}[(\[]",
    *("://", r"^(?:~|\.{1,2})/", r"^/[a-z]+/"),
    r"\.(?:pem|key|crt|json|ya?ml|txt|py|js|ts|go|md|sh|env|html?)$",
)
_NOTHING: Final = compiled(f"(?i:{'|'.join(_PLACEHOLDERS)})|{'|'.join(_CODE)}")
_IDENTIFIER: Final = re.compile(
    r"""(?x)
      [a-z]+[0-9]{0,2}(?:_[a-z]+[0-9]{0,2})+ | [A-Z]+[0-9]{0,2}(?:_[A-Z]+[0-9]{0,2})+
    | [a-z]+(?:[A-Z][a-z]+)+ | (?:[A-Z][a-z]+)+ | [A-Za-z]+(?:\.[A-Za-z]+)+ | [a-z]+(?:-[a-z]+)+
    """
)
_NAMED: Final = re.compile(r"[A-Za-z]+(?:[-_.][A-Za-z]+)*(?:[-_.]?v?[0-9]{1,4})?")
_HYPHENATED: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,11}(?:-[a-z]+)+")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LONGEST_WORD: Final = 20
_SHORTEST: Final = 8
_PEM_RUN: Final = re.compile(r"[A-Za-z0-9+/=]{40}|(?:[A-Za-z0-9+/=]{8,39}(?:\s|\\[nr]){1,6}){5}")
_WORD: Final = re.compile(r"[A-Za-z]+")
_ITS_NAME: Final = re.compile(r"(?i)pass(?:w(?:or)?d|phrase|wort|wd)?|secret|token|pwd|key")


def _classes(text: str) -> int:
    """How many of lower case, upper case, digits and other characters occur."""
    return (
        any(map(str.islower, text))
        + any(map(str.isupper, text))
        + any(map(str.isdigit, text))
        + any(not one.isalnum() for one in text)
    )


def _stands_for_nothing(text: str) -> bool:
    """A placeholder, a reference to where the value is, or a digest that says it is one."""
    data = text.encode(errors="replace")
    return _NOTHING(ANYWHERE, data, 0, len(data))[0][0] >= 0 or len(set(text)) == 1


def token(text: str) -> bool:
    """Made by a machine: letters and digits, no word, no identifier, no placeholder."""
    if _stands_for_nothing(text) or any(
        known.fullmatch(text) for known in (_UUID, _NAMED, _IDENTIFIER)
    ):
        return False
    if not (any(map(str.isdigit, text)) and any(map(str.isalpha, text))):
        return False
    return max(map(len, _WORD.findall(text))) <= max(_LONGEST_WORD, len(text) // 2)


def password(text: str) -> bool:
    """Chosen by somebody, and no word: eight characters of two classes, or six of three."""
    if _stands_for_nothing(text) or _HYPHENATED.fullmatch(text) or _IDENTIFIER.fullmatch(text):
        return False
    if text.isalpha() or not any(map(str.isalpha, text)) or text.endswith((":", ",", "(", ")")):
        return False
    return _classes(text) >= (2 if len(text) >= _SHORTEST else 3)


def quoted_password(text: str) -> bool:
    """The whole value of something called a password: neither a placeholder nor that name."""
    return not _stands_for_nothing(text) and not _ITS_NAME.fullmatch(text)


def url_password(text: str) -> bool:
    """Between the colon and the @ of a URL: neither a placeholder nor the word password."""
    plain = text.lower()
    if plain in {"password", "pass", "passwd", "pwd", "pw", "secret", "token", "p", "x", "key"}:
        return False
    return not re.search(
        r"\$\{?|\{|<|>|\[|%[A-Z_]{2,}%|\*{3}|\.{3}|x{4}|(?i:^your|placeholder)", text
    )


def basic(text: str) -> bool:
    """Credentials of RFC 7617: base64 of a name, a colon and a password."""
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except (ValueError, binascii.Error):
        return False
    name, colon, secret = plain.partition(":")
    return bool(colon and (name or secret)) and plain.isprintable()


def jwt(text: str) -> bool:
    """The header decodes to a JSON object that names its algorithm (RFC 7515 section 4.1.1)."""
    head = text.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, RecursionError):
        return False
    return isinstance(header, dict) and isinstance(header.get("alg"), str)


def pem(text: str) -> bool:
    """Between the lines that name it stands a key and no prose."""
    return _PEM_RUN.search(text.partition("-----BEGIN")[2].partition("KEY")[2]) is not None


def pem_base64(text: str) -> bool:
    """Base64 of a PEM file that holds a private key."""
    try:
        return b"PRIVATE KEY" in base64.b64decode(text[:96])
    except (ValueError, binascii.Error):
        return False


def base64_key(text: str) -> bool:
    """Forty characters that are base64 and neither hexadecimal, a path nor words."""
    if _classes(text.replace("/", "").replace("+", "")) < 3:  # noqa: PLR2004 - of letters and digits
        return False
    return max(map(len, _WORD.findall(text))) <= _LONGEST_WORD and text.count("/") <= 5  # noqa: PLR2004


def loads_data_away(text: str) -> bool:
    """Markup that is fetched when it is shown, whose URL carries data."""
    return carries(text, loaded=True)


def carries_data_away(text: str) -> bool:
    """A link whose URL carries data."""
    return carries(text, loaded=False)


_ALL: Final[tuple[Callable[[str], bool], ...]] = (
    *(token, password, quoted_password, url_password, basic, jwt, pem, pem_base64, base64_key),
    *(loads_data_away, carries_data_away),
)
SECRET_VALIDATORS: Final[dict[str, Callable[[str], bool]]] = {
    check.__name__: check for check in _ALL
}
