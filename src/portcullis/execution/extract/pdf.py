"""PDF: the text of the pages, and every text string of every other object.

Annotations, form values, titles, alternative texts, scripts and metadata stand in objects all over
the file (ISO 32000-1, section 7.3.4), so all objects that the file reaches are looked at. What
pypdf has to guess about makes the document opaque: another reader may guess otherwise.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final

from pypdf import PageObject, PdfReader
from pypdf.errors import PyPdfError
from pypdf.generic import (
    ArrayObject,
    DictionaryObject,
    IndirectObject,
    NameObject,
    StreamObject,
    TextStringObject,
)

from portcullis.execution.extract.kinds import Opaque
from portcullis.execution.extract.plain import TOO_LONG, fitting

MAX_PAGES: Final = 2000
MAX_OBJECTS: Final = 200_000
IMAGES: Final = "it holds images, which were not read"
SCRIPTS: Final = "it holds scripts"

_UNREAD: Final = "it draws text in a way that is not read"
_TRAILING: Final = 64
"""Bytes that may stand after the end of the file (padding)."""
_EMBEDDED: Final = frozenset({"/EF", "/EmbeddedFiles", "/RichMediaContent", "/AF", "/XFA"})
_MEDIA: Final = frozenset({"/RichMedia", "/3D", "/Sound", "/Movie", "/Screen", "/FileAttachment"})
_NO_TEXT: Final = frozenset({"/ID", "/CheckSum", "/Cert", "/ByteRange", "/Lang", "/CharSet"})
_SHOWS: Final = re.compile(rb"[)>\]]\s*(?:Tj|TJ|'|\")")
_INLINE_IMAGE: Final = re.compile(rb"\bBI\b.{0,4096}?\bID\s", re.DOTALL)
_FEW: Final = 16
"""A page of images with less text than this, in characters, is a scan."""
_UNMAPPED: Final = 0.05


class _Complaints(logging.Handler):
    """Notes that pypdf had to guess."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard = False

    def emit(self, record: logging.LogRecord) -> None:
        del record
        self.heard = True


def text_of(data: bytes, room: int) -> tuple[str, str]:
    """The document's text, at most ``room`` bytes in UTF-8, and a remark. Raises Opaque."""
    end = data.rfind(b"%%EOF")
    if end < 0 or len(data[end + 5 :].strip(b"\0\r\n\t ")) > _TRAILING:
        raise Opaque("not a whole PDF, or something is added to it")
    complaints = _Complaints()
    logger = logging.getLogger("pypdf")
    logger.propagate = False
    logger.addHandler(complaints)
    try:
        found = _Document(PdfReader(BytesIO(data)), room).read()
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise Opaque("a PDF that is not understood") from None
    except (NotImplementedError, ArithmeticError, AssertionError):
        raise Opaque("a PDF that is not understood") from None
    finally:
        logger.removeHandler(complaints)
    if complaints.heard:
        raise Opaque("a PDF that is not understood")
    return found


class _Document:
    def __init__(self, reader: PdfReader, room: int) -> None:
        if reader.is_encrypted:
            raise Opaque("an encrypted PDF")
        self._reader = reader
        self._room = room
        self._size = 0
        self._parts: list[str] = []
        self._remarks: set[str] = set()

    def read(self) -> tuple[str, str]:
        self._objects()
        pages = self._reader.get_num_pages()
        if not 0 < pages <= MAX_PAGES:
            raise Opaque(f"no pages, or more than {MAX_PAGES}")
        for page in self._reader.pages:
            self._page(page)
        return fitting("\n".join(self._parts), self._room), ", ".join(sorted(self._remarks))

    def _page(self, page: PageObject) -> None:
        if _name(page, "/Type") != "/Page":
            raise Opaque("a PDF that is not understood")
        contents = page.get_contents()
        drawn = b"" if contents is None else contents.get_data()
        text = page.extract_text()
        if _INLINE_IMAGE.search(drawn):
            self._remarks.add(IMAGES)
        if len(text.strip()) < _FEW and (_draws_images(page) or _INLINE_IMAGE.search(drawn)):
            raise Opaque("a page is an image")
        self._read_from(drawn, text)

    def _read_from(self, drawn: bytes, text: str) -> None:
        """Take the text that was read from drawing instructions, if it can be all of it."""
        if not text.strip() and _SHOWS.search(drawn):
            raise Opaque(_UNREAD)
        if _unmapped(text):
            raise Opaque("its fonts do not say what their characters are")
        self._add(text)

    def _add(self, text: str) -> None:
        self._size += len(text) + 1
        if self._size > self._room:
            raise Opaque(TOO_LONG)
        if text.strip():
            self._parts.append(text)

    def _objects(self) -> None:
        """Look at every object that can be reached from the trailer, each once."""
        seen: set[tuple[int, int]] = set()
        waiting: list[Any] = [self._reader.trailer]
        count = 0
        while waiting:
            value = waiting.pop()
            if isinstance(value, IndirectObject):
                key = (value.idnum, value.generation)
                if key in seen:
                    continue
                seen.add(key)
                value = self._reader.get_object(value)
            count += 1
            if count > MAX_OBJECTS:
                raise Opaque(f"more than {MAX_OBJECTS} objects")
            if isinstance(value, DictionaryObject):
                self._dictionary(value)
                waiting += (item for key, item in value.items() if key not in _NO_TEXT)
            elif isinstance(value, ArrayObject):
                waiting += value
            elif isinstance(value, TextStringObject):
                self._add(str(value))

    def _dictionary(self, value: DictionaryObject) -> None:
        if _EMBEDDED & value.keys() or _name(value, "/Type") == "/EmbeddedFile":
            raise Opaque("files or forms are embedded in it")
        if _MEDIA & {_name(value, "/Subtype"), _name(value, "/S")}:
            raise Opaque("media are embedded in it")
        if _name(value, "/Subtype") == "/Image":
            self._remarks.add(IMAGES)
        if "/JS" in value or _name(value, "/S") == "/JavaScript":
            self._remarks.add(SCRIPTS)
            script = value.get("/JS")
            script = script.get_object() if script is not None else None
            if isinstance(script, StreamObject):
                self._add(_read(script))
        if isinstance(value, StreamObject) and _name(value, "/Type") == "/Metadata":
            self._add(_read(value))
        procedures = value.get("/CharProcs")
        for stream in _streams(procedures) if procedures is not None else ():
            if _SHOWS.search(stream.get_data()):
                raise Opaque(_UNREAD)
        if isinstance(value, StreamObject):
            self._drawing(value)

    def _drawing(self, stream: StreamObject) -> None:
        """Read what a stream draws wherever it is used: forms, appearances, patterns."""
        form = _name(stream, "/Subtype") == "/Form"
        if not form and "/PatternType" not in stream:
            return
        drawn = stream.get_data()
        if not _SHOWS.search(drawn):
            return
        if not (form and "/Resources" in stream):
            raise Opaque(_UNREAD)
        page = self._reader.pages[0]
        self._read_from(drawn, page.extract_xform_text(stream))  # type: ignore[arg-type] # any stream


def _name(value: DictionaryObject, key: str) -> str:
    found = value.get(key)
    found = found.get_object() if found is not None else None
    return str(found) if isinstance(found, NameObject) else ""


def _read(stream: StreamObject) -> str:
    data = stream.get_data()
    charset = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    return data.decode(charset, "replace")


def _streams(value: Any) -> Iterator[StreamObject]:
    """The streams that a dictionary names."""
    found = value.get_object()
    for item in found.values() if isinstance(found, DictionaryObject) else ():
        one = item.get_object()
        if isinstance(one, StreamObject):
            yield one


def _draws_images(page: PageObject) -> bool:
    resources = page.get("/Resources")
    resources = resources.get_object() if resources is not None else {}
    objects = resources.get("/XObject") if isinstance(resources, DictionaryObject) else None
    objects = objects.get_object() if objects is not None else {}
    drawn = (item.get_object() for item in objects.values())
    return any(_name(item, "/Subtype") == "/Image" for item in drawn if hasattr(item, "get"))


def _unmapped(text: str) -> bool:
    """Whether so many characters mean nothing that the fonts cannot have said what they are."""
    strange = sum(
        1
        for character in text
        if character == "\ufffd"
        or (character not in "\t\n\r\f" and unicodedata.category(character) in {"Cc", "Cn", "Co"})
    )
    return strange > max(2, _UNMAPPED * len(text))
