"""Texts as tokens in one form each, so that equal values are found equal and no others.

There are two sides. A *source* (the user's prompt, a trusted field) vouches for every way in
which its words may be written: ``Words`` and ``offers``. A *value* (an argument of a call) goes
out as it stands, so it is read narrowly: ``keys``. Hence look-alikes, compatibility forms and
characters that do not show are never undone in a value: ``alice@bank.example`` with a Cyrillic
letter in it is another address, and one that an attacker may own.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Collection, Iterator
from typing import Any, Final

from portcullis.provenance import numbers, urls

MAX_VALUE: Final = 1024
"""Longest text that is compared at all, in characters; a longer one has no source."""

_PARTING: Final = '\\s,;()<>{}\\[\\]"|=\u201c\u201d\u201e\u00ab\u00bb\u2014\u2026'
_WORD: Final = rf"(?:[^{_PARTING}]|(?<=[0-9]),(?=[0-9]))+"
_LABEL: Final = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_KINDS: Final = (
    r"(?P<url>(?<![A-Za-z0-9])[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s<>\"`|{}.,;:!?)\]'*/][^\s<>\"`|{}]*)"
    rf"|(?P<mail>[^\s<>\"(),;:@\[\]\\|=]{{1,128}}@{_LABEL}(?:\.{_LABEL})+(?![\w@\u0300-\u036f]))"
    r"|(?P<iban>(?<![^\W_])[A-Za-z]{2}[0-9]{2}(?: [A-Za-z0-9]{4}){2,8}(?: [A-Za-z0-9]{1,3})?(?!\w))"
    r"|(?P<digits>(?<![\w+.,])(?![0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:\+[0-9]{1,4}|\(?[0-9]{2,20}\)?)(?:[ -]{1,2}\(?[0-9]{2,20}\)?){1,8}(?!\w)(?![.,:/-]\w))"
    rf"|(?P<word>{_WORD})"
)
_VALUE: Final = re.compile(rf"(?P<skip>['\u2018\u2019`#@]+)|{_KINDS}")
_SOURCE: Final = re.compile(
    rf"(?P<skip>['\u2018\u2019`#@]+|\*+(?=[^\W_]|[$\u20ac\u00a3\u00a5`_~]))|{_KINDS}"
)
_ONE_WORD: Final = re.compile(_WORD)
_PROSE: Final = re.compile(r"[\s,;]*(?P<prose>[A-Za-z]++)(?=[\s,;]|\Z)")
"""A word that can be nothing else, which is what most of a text is."""
_EDGES: Final = "'\u2018\u2019`"
_LEADING: Final = _EDGES + "#@,"
_TRAILING: Final = _EDGES + ".,:!?"
_MARKUP: Final = "*_~"
_PLAIN: Final = re.compile(
    r"""["'(]?(?:[^\W\d_]+|(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]|[0-9]{1,2}:[0-9]{2})"""
    r"""[.,;:!?)"']*"""
)
"""A word, a date or a time, with what stands around them in prose."""
_GROUP: Final = 4
"""Letters of the longest group in which an IBAN is written."""
_PAIR: Final = 2
_GROUPED: Final = 9
"""Digits from which on groups of them are one number of an account or a telephone."""
_DIALLED: Final = 7
_WALLET: Final = 26
_LONG_IBAN: Final = 15
_LONGEST_IBAN: Final = 34
_IBAN: Final = re.compile("[a-z]{2}[0-9]{2}")
_FIGURES: Final = re.compile(r"[^%]*[^%-]")
_PIECES: Final = re.compile(r"\+?[^\W_]+")
NEXT: Final = "\x1f"
"""What stands between tokens: in no token, and no space, so that neighbours never become one."""

_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U000e0000-\U000e0fff]"
)
_FIRST: Final = re.compile(r"[\W\d_]")
_FAMILIES: Final = ("iban", "digits")


def canonical(text: str) -> str:
    """A text as its tokens with U+001F between them; the same for what is already so.

    Case, quotes, surrounding punctuation, the spacing of account numbers, and the normal forms of
    URLs and e-mail addresses are evened out. Empty for a text without tokens.
    """
    return NEXT.join(token for _, token in tokens(_flat(text), source=False))


def keys(value: Any, *, number: bool = False) -> tuple[str, ...]:
    """What a value may be known as: any one of these is enough. None: it can have no source.

    A number is ``#`` and its shortest decimal form, and a text of digits is also that number. With
    ``number`` it is an amount, ``##`` and that form, and so is a text that reads one way only.
    """
    if isinstance(value, str):
        if not value or len(value) > MAX_VALUE:
            return ()
        pieces = value.split()
        if len(pieces) > 1:  # a sentence: what ends it is not the URL's
            pieces = [piece[:-1] if piece[-1] in ".,;:!?" else piece for piece in pieces]
        signs = "://" in value and (
            value != " ".join(value.split())
            or not all(any(map(str.isalnum, piece)) for piece in pieces)
        )
        if signs or not all(map(urls.faithful, pieces)):
            return (f"={value}",)
        text = canonical(value)
        found = (text,) if text else ()
        if number:
            exact = numbers.exact(value.strip()) if _FIGURES.fullmatch(value.strip()) else None
            return found if exact is None else (f"##{exact}",)
        whole = numbers.integer(value)
        return found if whole is None else (*found, f"#{whole}")
    plain = numbers.plain(value)
    return () if plain is None else (f"##{plain}" if number else f"#{plain}",)


def offers(value: Any) -> frozenset[str]:
    """What a trusted value vouches for: itself as a whole, in every way to write it."""
    amounts = keys(value, number=True)
    if not isinstance(value, str) or not value or len(value) > MAX_VALUE:
        return frozenset((*keys(value), *amounts))
    parts = list(tokens(_flat(value), source=False))
    whole = numbers.integer(value)
    found = set(amounts) if whole is None else {f"#{whole}", *amounts}
    if len(parts) == 1:
        return frozenset(found | forms(*parts[0], numbers.Style.ENGLISH))
    text = NEXT.join(token for _, token in parts)
    return frozenset(found | {text} if text else found)


def mentions(text: str) -> tuple[str, ...]:
    """The keys of what in a payload leads somewhere: URLs, addresses, numbers of accounts.

    Each once; what hides behind characters that do not show is read without them.
    """
    found: dict[str, None] = {}
    read = html.unescape(text) if "&" in text else text
    for reading in {one: None for way in (text, read) for one in readings(way)}:
        for part in _candidates(reading):
            for kind, token in tokens(part, source=True):
                if kind != "word":
                    found[token] = None
                elif not token.isalpha():
                    found |= dict.fromkeys(urls.hosts(token))
                    found |= dict.fromkeys(filter(_account, _PIECES.findall(token)))
    return tuple(found)


def links(text: str) -> frozenset[str]:
    """The keys of the URLs and hosts in a text, in every way to write them."""
    found = (one for one in mentions(text) if "://" in one or urls.hostlike(one))
    return frozenset(form for one in found for form in urls.variants(one)) | urls.written(text)


def bearing(text: str, names: Collection[str]) -> frozenset[str]:
    """The keys of e-mail addresses in a text that begin with one of these names."""
    found = (one for one in mentions(text) if "@" in one)
    return frozenset(one for one in found if _FIRST.split(one, 1)[0] in names)


def _candidates(text: str) -> Iterator[str]:
    """The runs of a text that are more than words: plain ones lead nowhere, and cost time."""
    run: list[str] = []
    for piece in text.split():
        plain = piece.isalpha() or _PLAIN.fullmatch(piece) is not None
        if not plain or (run and len(piece) <= _GROUP):
            run.append(piece)
        elif run:
            yield " ".join(run)
            run = []
    if run:
        yield " ".join(run)


def _account(piece: str) -> bool:
    """Whether a word is the number of an account, a card, a telephone or a wallet."""
    digits = piece.removeprefix("+")
    if digits.isdigit():
        return len(digits) >= (_GROUPED if digits == piece else _DIALLED)
    return piece.isascii() and (
        (piece.startswith(("0x", "bc1")) and len(piece) >= _WALLET)
        or (_LONG_IBAN <= len(piece) <= _LONGEST_IBAN and _IBAN.match(piece) is not None)
    )


def readings(text: str) -> tuple[str, ...]:
    """A source's text as it stands and as its compatibility forms (NFKC) read."""
    flat = _flat(text)
    if flat.isascii():
        return (flat,)
    folded = unicodedata.normalize("NFKC", _INVISIBLE.sub("", flat))
    return (flat,) if folded == flat else (flat, folded)


def _flat(text: str) -> str:
    """Composed (NFC), and with the one letter spelt out that is two in lower case."""
    return (
        text if text.isascii() else unicodedata.normalize("NFC", text).replace("\u0130", "i\u0307")
    )


def tokens(text: str, *, source: bool) -> Iterator[tuple[str, str]]:
    """The kinds and canonical forms of a text's tokens, in order."""
    at, scan = 0, _SOURCE if source else _VALUE
    while (found := _PROSE.match(text, at) or scan.search(text, at)) is not None:
        kind, part = found.lastgroup or "word", found.group()
        at = found.end()
        if kind == "prose":
            yield "word", found[kind].lower()
            continue
        if kind == "skip":
            continue
        if kind == "mail":
            yield kind, _mail(part)
            continue
        if kind == "url":
            yield kind, urls.normal(part.rstrip(urls.TRAILING))
            continue
        if kind in _FAMILIES:
            joined, used = _iban(part) if kind == "iban" else _digits(part)
            if joined:
                at = found.start() + used
                yield kind, joined
                continue
            word = _ONE_WORD.match(text, found.start())
            part, at = (word.group(), word.end()) if word else (part, at)
        if ":" in part and _labelled(part):
            part = part.partition(":")[0]
            at = found.start() + len(part) + 1
        token = _word(part, source=source)
        if token:
            yield "word", token


def _labelled(part: str) -> bool:
    """Whether it is a label and something of another kind: ``mailto:bob@example.com``."""
    label, _, rest = part.partition(":")
    return label.isalpha() and ("@" in rest or "://" in rest or _account(rest.lower()))


def _word(part: str, *, source: bool) -> str:
    if part.isascii() and part.isalpha():
        return part.lower()
    word = part.lstrip(_LEADING).rstrip(_TRAILING)
    if source:
        if len(word) > _PAIR and word[0] == word[-1] and word[0] in _MARKUP:
            word = word.strip(word[0])
        word = word.removesuffix("'s").removesuffix("\u2019s")
        if word.strip("*"):
            word = word.rstrip("*").rstrip(_TRAILING)
    if urls.hostlike(word):
        return urls.normal(word)
    return unicodedata.normalize("NFC", word.lower())


def _mail(part: str) -> str:
    local, _, domain = part.rpartition("@")
    return f"{unicodedata.normalize('NFC', local.lower())}@{urls.domain(domain)}"


def _digits(part: str) -> tuple[str, int]:
    joined = re.sub(r"[^0-9+]", "", part)
    groups = len(re.findall("[0-9]+", part))
    one = joined.startswith("+") or groups > 2  # noqa: PLR2004 - two numbers may stand side by side
    if not one or len(joined) < _GROUPED:
        return "", 0
    return ("+" + joined[2:] if joined.startswith("00") else joined), len(part)


def _iban(part: str) -> tuple[str, int]:
    """The longest beginning in whole groups whose check digits are right (ISO 13616)."""
    groups = part.split(" ")
    for count in range(len(groups), 3, -1):
        joined = "".join(groups[:count])
        if len(joined) >= _LONG_IBAN and _checked(joined):
            return joined.lower(), len(" ".join(groups[:count]))
    return "", 0


def _checked(text: str) -> bool:
    return int("".join(str(int(one, 36)) for one in text[4:] + text[:4])) % 97 == 1


def forms(kind: str, token: str, style: numbers.Style) -> set[str]:
    """Every key under which a source's token may be asked for."""
    found = {token}
    if kind == "url" or urls.hostlike(token):
        found |= urls.variants(token)
    elif kind == "word":
        found |= {f"#{one}" for one in numbers.readings(token, style)}
    return found
