"""Office documents, OOXML (ISO 29500) and OpenDocument: all text of all their parts.

Headers, notes, comments, hidden sheets, properties and alternative texts are parts, or attributes,
like any other; only what is known to hold no text is left out, and an unknown part is opaque.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element, TreeBuilder

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import XMLParser

from portcullis.execution.extract.kinds import Opaque
from portcullis.execution.extract.package import Package
from portcullis.execution.extract.plain import TOO_LONG, fitting

IMAGES: Final = "it holds images, which were not read"
MAX_DEPTH: Final = 256
MAX_ELEMENTS: Final = 1_000_000

_TYPES: Final = "[Content_Types].xml"
_OOXML: Final = ("word/document.xml", "xl/workbook.xml", "ppt/presentation.xml")
_ODF: Final = re.compile(
    rb"application/vnd\.oasis\.opendocument\.(?:text|spreadsheet|presentation)"
)
_XML: Final = re.compile(r"\.(?:xml|rels|vml|rdf)$", re.IGNORECASE)
_IMAGE: Final = re.compile(r"\.(?:png|jpe?g|gif|bmp|tiff?|webp|emf|wmf|ico)$", re.IGNORECASE)
_TEXTLESS: Final = re.compile(
    r"\.(?:odttf|fntdata|ttf|otf)$|^mimetype$|/printerSettings/printerSettings[0-9]*\.bin$"
)
_ACTIVE: Final = re.compile(
    r"vbaProject|vbaData|macrosheets|/activeX|/embeddings/|oleObject|/ctrlProps/"
    r"|^(?:Basic|Scripts|Dialogs|Configurations2/macro)|^Object |ObjectReplacements/",
    re.IGNORECASE,
)
_LOADS: Final = ("/attachedTemplate", "/oleObject", "/frame", "/subDocument", "/externalLinkPath")
_BLOCKS: Final = frozenset(
    {"p", "h", "br", "cr", "line-break", "tr", "row", "si", "comment", "table-row", "tbl", "sld"}
    | {"list-item", "title", "subject", "creator", "description", "keywords", "lpwstr", "f"}
    | {"text-box", "annotation", "note", "table", "section", "Relationship"}
)
_CELLS: Final = frozenset({"c", "tc", "table-cell", "tab", "instrText", "is"})
_WORDS: Final = re.compile(r"\w\W+\w|.{25}|://", re.DOTALL)
"""An attribute's value that may say something: several words, a long one, a link."""
_SAYS: Final = frozenset({"descr", "title", "name", "alias", "tag", "author", "tooltip", "display"})


def text_of(data: bytes, room: int) -> tuple[str, str]:
    """The document's text, at most ``room`` bytes in UTF-8, and a remark. Raises Opaque."""
    package = Package(data)
    _known(package)
    images = False
    reader = _Texts(room)
    shared = _shared_strings(package, reader)
    for name in package.names():
        if _ACTIVE.search(name):
            raise Opaque("macros or objects are embedded in it")
        if _XML.search(name):
            part = package.read(name)
            if not part.strip():
                continue
            reader.add(part, shared if name.startswith("xl/worksheets/") else None)
        elif _IMAGE.search(name):
            images = images or "thumbnail" not in name.lower()
        elif not _TEXTLESS.search(name):
            raise Opaque("it holds a part of an unknown kind")
    return fitting(reader.text(), room), IMAGES if images else ""


def _known(package: Package) -> None:
    """Raise Opaque unless this is an Office document without macros."""
    if _TYPES in package and sum(name in package for name in _OOXML) == 1:
        types = package.read(_TYPES).lower()
        if b"macroenabled" in types or b"vbaproject" in types:
            raise Opaque("macros or objects are embedded in it")
    elif "mimetype" not in package or not _ODF.fullmatch(package.read("mimetype").strip()):
        raise Opaque("archive")


def _shared_strings(package: Package, reader: _Texts) -> list[str] | None:
    name = "xl/sharedStrings.xml"
    if name not in package:
        return None
    items = [item for item in reader.parse(package.read(name)) if _local(item.tag) == "si"]
    return ["".join(_pieces(item)).strip() for item in items]


class _Texts:
    """Gathers the texts of XML parts."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._elements = 0
        self._size = 0
        self._parts: list[str] = []

    def text(self) -> str:
        """All that was gathered, without empty lines."""
        lines = (line.strip() for line in "".join(self._parts).splitlines())
        return "\n".join(line for line in lines if line)

    def add(self, part: bytes, shared: list[str] | None) -> None:
        """Gather the text of a part; cells that point to ``shared`` strings hold those."""
        root = self.parse(part)
        for piece in _pieces(root, shared):
            self._size += len(piece)
            if self._size > 2 * self._room:
                raise Opaque(TOO_LONG)
            self._parts.append(piece)
        self._parts.append("\n")

    def parse(self, part: bytes) -> Element:
        """The root of a part. Raises Opaque for what is not well-formed, or declares entities."""
        target = _Bounded(MAX_ELEMENTS - self._elements)
        parser = XMLParser(target=target, forbid_dtd=True)
        try:
            parser.feed(part)
            root: Element = parser.close()
        except DefusedXmlException:
            raise Opaque("it declares entities") from None
        except (SyntaxError, ValueError, LookupError):  # a ParseError is a SyntaxError
            raise Opaque("a part of it is not well-formed") from None
        self._elements += target.count
        return root


class _Bounded(TreeBuilder):
    """A tree of bounded size and depth."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room
        self._depth = 0
        self.count = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        """An element begins."""
        self.count += 1
        self._depth += 1
        if self.count > self._room or self._depth > MAX_DEPTH:
            raise Opaque("its XML is too large or too deep")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        """An element ends."""
        self._depth -= 1
        return super().end(tag)


def _pieces(element: Element, shared: list[str] | None = None) -> Iterator[str]:
    """The texts below an element, in order; paragraphs, rows and cells do not run together."""
    name = _local(element.tag)
    if name == "Relationship":
        _refuse_loading(element)
    for key, value in element.attrib.items():
        if _local(key) in _SAYS or (
            _WORDS.search(value) and not value.startswith("http://schemas.")
        ):
            yield f"\n{value}\n"
    if shared is not None and name == "c" and element.get("t") == "s":
        yield _shared(element, shared)
    else:
        yield element.text or ""
        for child in element:
            yield from _pieces(child, shared)
            yield child.tail or ""
    if name in _BLOCKS:
        yield "\n"
    elif name in _CELLS:
        yield "\t"


def _shared(cell: Element, shared: list[str]) -> str:
    try:
        index = int("".join(cell.itertext()))
        if index < 0:
            raise IndexError
        return f"{shared[index]}\t"
    except (ValueError, IndexError):
        raise Opaque("a part of it is not well-formed") from None


def _refuse_loading(relationship: Element) -> None:
    outside = relationship.get("TargetMode") == "External"
    if outside and relationship.get("Type", "").endswith(_LOADS):
        raise Opaque("it loads something from elsewhere")


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
