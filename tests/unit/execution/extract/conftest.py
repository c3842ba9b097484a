"""Documents made on the spot, good and hostile."""

import io
import zipfile
import zlib
from types import SimpleNamespace

import pytest

TYPES = '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
S = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def pdf(*objects, root=1, trailer="", tail=b""):
    """A PDF of these objects (str, or bytes), numbered from 1, with a right table of them."""
    out = bytearray(b"%PDF-1.7\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        data = body.encode() if isinstance(body, str) else body
        out += f"{number} 0 obj\n".encode() + data + b"\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{offset:010d} 00000 n \n".encode() for offset in offsets)
    head = f"<< /Size {len(objects) + 1} /Root {root} 0 R {trailer} >>"
    return bytes(out) + f"trailer\n{head}\nstartxref\n{start}\n%%EOF\n".encode() + tail


def stream(data, more=""):
    return f"<< /Length {len(data)} {more} >>\nstream\n".encode() + data + b"\nendstream"


def page(text="", *, catalog="", leaf="", more=(), resources="", content=None):
    """A PDF of one page that says ``text``; ``more`` are objects from number 6 on."""
    drawn = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET".encode() if content is None else content
    return pdf(
        f"<< /Type /Catalog /Pages 2 0 R {catalog} >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        f"/Resources << /Font << /F1 5 0 R >> {resources} >> {leaf} >>",
        stream(drawn),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        *more,
    )


def package(entries, **kw):
    """A ZIP archive of these entries."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, **kw) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return out.getvalue()


def docx(body, **parts):
    document = f"<w:document {W}><w:body>{body}</w:body></w:document>"
    names = {name.replace("__", "/").replace("_", "."): data for name, data in parts.items()}
    return package({"[Content_Types].xml": TYPES, "word/document.xml": document} | names)


def runs(*texts):
    return "<w:p>" + "".join(f"<w:r><w:t>{text}</w:t></w:r>" for text in texts) + "</w:p>"


def xlsx(rows, strings=(), **parts):
    shared = f"<sst {S}>" + "".join(f"<si><t>{text}</t></si>" for text in strings) + "</sst>"
    cells = "".join(f"<row>{row}</row>" for row in rows)
    sheet = f"<worksheet {S}><sheetData>{cells}</sheetData></worksheet>"
    return package(
        {
            "[Content_Types].xml": TYPES,
            "xl/workbook.xml": f'<workbook {S}><sheets><sheet name="Plan" state="hidden"/></sheets>'
            "</workbook>",
            "xl/sharedStrings.xml": shared,
            "xl/worksheets/sheet1.xml": sheet,
        }
        | {name.replace("__", "/").replace("_", "."): data for name, data in parts.items()}
    )


def odt(text, **entries):
    content = f'<o:x xmlns:o="o" xmlns:t="t"><t:p>{text}</t:p></o:x>'
    kind = "application/vnd.oasis.opendocument.text"
    return package({"mimetype": kind, "content.xml": content} | entries)


def flate(data):
    return stream(zlib.compress(data), "/Filter /FlateDecode")


@pytest.fixture
def make():
    return SimpleNamespace(
        pdf=pdf,
        page=page,
        stream=stream,
        flate=flate,
        package=package,
        docx=docx,
        runs=runs,
        xlsx=xlsx,
        odt=odt,
        types=TYPES,
    )
