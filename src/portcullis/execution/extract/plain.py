"""Text files, read in the charset that they are in, and in the one that they are said to be in."""

from __future__ import annotations

import codecs
import re
from typing import Final

from portcullis.execution.extract.kinds import Opaque

TOO_LONG: Final = "more text than is inspected"
_CHARSET: Final = re.compile(r";\s*charset\s*=\s*\"?([A-Za-z0-9._-]{1,32})", re.IGNORECASE)
_CHARSETS: Final = frozenset(
    {"ascii", "utf-8", "utf-16", "utf-16-le", "utf-16-be", "koi8-r", "koi8-u", "shift_jis"}
    | {"euc_jp", "euc_kr", "gbk", "gb18030", "gb2312", "big5"}
    | {f"iso8859-{number}" for number in range(1, 17)}
    | {f"cp{number}" for number in (874, *range(1250, 1259))}
)
"""Charsets without escape sequences; by the names of Python's codecs."""
_BOMS: Final = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def decoded(data: bytes, media_type: str, room: int) -> str:
    """The text of ``data``, at most ``room`` bytes in UTF-8. Raises Opaque.

    Where the charset that is claimed reads otherwise than UTF-8 does, the text is both readings:
    who gets the document may believe either.
    """
    if len(data) > 2 * room + 2:
        raise Opaque(TOO_LONG)
    readings = {}
    for charset in dict.fromkeys((_claimed(media_type), *_found(data))):
        try:
            readings[charset] = data.decode(charset)
        except (UnicodeDecodeError, LookupError):
            continue
    texts = tuple(dict.fromkeys(text.removeprefix("\ufeff") for text in readings.values()))
    if not texts:
        raise Opaque("not text in its charset")
    return fitting("\n".join(texts), room)


def fitting(text: str, room: int) -> str:
    """The text, when it fits and is valid Unicode without U+0000. Raises Opaque."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Opaque("not text in its charset") from None
    if size > room:
        raise Opaque(TOO_LONG)
    if "\0" in text:
        raise Opaque("not text, and of no known format")
    return text


def _found(data: bytes) -> tuple[str, ...]:
    return tuple(charset for bom, charset in _BOMS if data.startswith(bom)) or ("utf-8",)


def _claimed(media_type: str) -> str:
    found = _CHARSET.search(media_type)
    if found is None:
        return "utf-8"
    try:
        name = codecs.lookup(found[1]).name
    except LookupError:
        return "utf-8"
    return name if name in _CHARSETS else "utf-8"
