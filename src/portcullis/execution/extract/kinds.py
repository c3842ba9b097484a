"""What a document is, by its bytes. What its sender calls it decides nothing."""

from __future__ import annotations

import re
from enum import StrEnum
from io import BytesIO
from typing import Final
from zipfile import is_zipfile


class Opaque(Exception):  # noqa: N818 - a verdict that ends the reading; it never leaves the package
    """The document cannot be read as text; ``str()`` is the reason, in our words alone."""


class Kind(StrEnum):
    """The kinds of documents whose text can be taken out."""

    TEXT = "text"
    MARKUP = "markup"
    PDF = "pdf"
    PACKAGE = "package"


TWO_FORMATS: Final = "it can be read as two formats"
_PDF: Final = b"%PDF-"
_PDF_REACH: Final = 1024
"""Readers look for a PDF's header as far as this (ISO 32000-1, annex H.3.4.1)."""
_ZIP: Final = b"PK\x03\x04"

_MAGIC: Final[tuple[tuple[str, int, tuple[bytes, ...]], ...]] = (
    ("image", 0, (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"\0\0\1\0")),
    ("image", 0, (b"8BPS", b"\xff\x0a", b"\0\0\0\x0cJXL ", b"\0\0\0\x0cjP")),
    ("image", 8, (b"WEBP",)),
    ("image", 4, (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif", b"ftypavis")),
    ("audio", 0, (b"ID3", b"fLaC", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"\xff\xf1")),
    ("audio", 0, (b"MThd", b"#!AMR", b"FORM")),
    ("audio", 8, (b"WAVE",)),
    ("audio or video", 0, (b"OggS", b"\x1aE\xdf\xa3", b"FLV\1", b"\0\0\1\xba", b"\0\0\1\xb3")),
    ("audio or video", 4, (b"ftyp",)),
    ("video", 8, (b"AVI ",)),
    ("archive", 0, (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07")),
    ("archive", 0, (b"PK\5\6", b"PK\7\x08", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"MSCF")),
    ("archive", 257, (b"ustar",)),
    ("executable", 0, (b"\x7fELF", b"\xca\xfe\xba\xbe", b"\xfe\xed\xfa", b"\xce\xfa\xed\xfe")),
    ("executable", 0, (b"\xcf\xfa\xed\xfe", b"\0asm", b"dex\n")),
    ("document of an old Office", 0, (b"\xd0\xcf\x11\xe0",)),
    ("RTF document", 0, (rb"{\rtf",)),
    ("PostScript program", 0, (b"%!PS",)),
)
_MAGIC_BYTES: Final = 16
_SHORT_MAGIC: Final = (("executable", b"MZ"), ("image", b"BM"))
"""Two letters that may also begin a text; a text holds no NUL."""
_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))
_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")
_MARKUP: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*<[!?A-Za-z/]")
_CLAIMS: Final = re.compile(r"html|xml|svg", re.IGNORECASE)


def kind_of(data: bytes, media_type: str) -> Kind:
    """The kind of a document. Raises Opaque for what is not read.

    ``media_type`` can have a text looked at as markup, and nothing else.
    """
    start = data[:_PDF_REACH]
    packed = is_zipfile(BytesIO(data))
    if start.startswith(_ZIP):
        found = Kind.PACKAGE
    elif start.startswith(_PDF):
        found = Kind.PDF
    else:
        _refuse_others(data)
        found = Kind.TEXT
        if _MARKUP.match(data) or _CLAIMS.search(media_type):
            found = Kind.MARKUP
    if (packed and found is not Kind.PACKAGE) or (_PDF in start and found is not Kind.PDF):
        raise Opaque(TWO_FORMATS)
    return found


def _refuse_others(data: bytes) -> None:
    """Raise Opaque, by name where it has one, for what is no text."""
    for what, offset, magics in _MAGIC:
        if data[offset : offset + _MAGIC_BYTES].startswith(magics):
            raise Opaque(what)
    if data.startswith(_BOMS):
        return
    for what, magic in _SHORT_MAGIC:
        if data.startswith(magic) and b"\0" in data:
            raise Opaque(what)
    if len(data.translate(None, _CONTROLS)) != len(data):
        raise Opaque("not text, and of no known format")
