"""What is read of each kind of document, by the code that runs in the worker."""

import pytest

from portcullis.execution.extract import markup, office, pdf
from portcullis.execution.extract.kinds import Opaque

ROOM = 100_000


def test_a_pdfs_annotations_forms_titles_scripts_and_metadata_are_read(make):
    found, remark = pdf.text_of(
        make.page(
            "on the page",
            catalog="/AcroForm << /Fields [6 0 R] >> /Metadata 7 0 R /OpenAction 9 0 R",
            leaf="/Annots [6 0 R 8 0 R]",
            more=(
                "<< /Type /Annot /Subtype /Widget /FT /Tx /T (field) /V (the form value) >>",
                make.stream(b"<x>the metadata</x>", "/Type /Metadata /Subtype /XML"),
                "<< /Type /Annot /Subtype /Text /Contents (the annotation) /Rect [0 0 1 1] >>",
                "<< /S /JavaScript /JS 10 0 R >>",
                make.stream(b"the.script()"),
            ),
        ),
        ROOM,
    )
    for text in ("on the page", "form value", "the metadata", "the annotation", "the.script()"):
        assert text in found
    assert remark == pdf.SCRIPTS


def test_what_an_appearance_draws_is_read_whatever_its_field_says(make):
    fonts = "/Resources << /Font << /F1 5 0 R >> >>"
    drawn = make.stream(b"BT /F1 9 Tf (what is drawn) Tj ET", f"/Subtype /Form {fonts}")
    widget = "<< /Subtype /Widget /FT /Tx /V (what it says) /AP << /N 7 0 R >> >>"
    found, _ = pdf.text_of(make.page("x", leaf="/Annots [6 0 R]", more=(widget, drawn)), ROOM)
    assert {"what is drawn", "what it says"} <= set(found.splitlines())
    bare = drawn.replace(fonts.encode(), b" " * len(fonts))
    with pytest.raises(Opaque, match="not read"):
        pdf.text_of(make.page("x", leaf="/Annots [6 0 R]", more=(widget, bare)), ROOM)


IMAGE = (
    "<< /Type /XObject /Subtype /Image /Width 1000000 /Height 1000000 /Length 0 >>"
    "\nstream\n\nendstream"
)


def test_an_image_is_noted_and_never_unpacked_and_a_scan_is_opaque(make):
    with_image = {"resources": "/XObject << /I 6 0 R >>", "more": (IMAGE,)}
    text = "a page with a picture on it"
    assert pdf.text_of(make.page(text, **with_image), ROOM) == (text, pdf.IMAGES)
    with pytest.raises(Opaque, match="a page is an image"):
        pdf.text_of(make.page("", **with_image), ROOM)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (lambda make: make.page("x", catalog="/Names << /EmbeddedFiles 6 0 R >>"), "embedded"),
        (lambda make: make.page("x", catalog="/AcroForm << /XFA (x) >>"), "embedded"),
        (
            lambda make: make.page(
                "x", leaf="/Annots [6 0 R]", more=("<< /Type /Annot /Subtype /Movie >>",)
            ),
            "media",
        ),
        (
            lambda make: make.page(
                "x",
                leaf="/Annots [6 0 R]",
                more=(
                    "<< /Type /Annot /Subtype /Stamp /MK 7 0 R >>",
                    make.stream(b"BT (drawn) Tj ET", "/Type /Pattern /PatternType 1"),
                ),
            ),
            "not read",
        ),
        (
            lambda make: make.pdf(
                "<< /Type /Catalog /Pages 2 0 R >>",
                "<< /Type /Pages /Kids [] /Count 0 >>",
                "<< /Filter /Standard /V 1 /R 2 /O (xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx) "
                "/U (xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx) /P -4 >>",
                trailer="/Encrypt 3 0 R /ID [(a) (a)]",
            ),
            "encrypted",
        ),
        (lambda make: make.page("\\001\\002\\003\\004\\005\\006"), "fonts"),
    ],
)
def test_a_pdf_that_holds_more_than_is_read_is_opaque(make, document, reason):
    with pytest.raises(Opaque, match=reason):
        pdf.text_of(document(make), ROOM)


def test_a_damaged_pdf_is_not_guessed_at(make):
    whole = make.page("the text")
    for damaged in (
        whole.replace(b"startxref\n", b"startxref\n9"),
        whole.replace(b"/Length", b"/Lengt_"),
        whole.replace(b"/Resources", b"/Resourcez"),
        whole.replace(b"/Font ", b"/Fonz "),
        whole.replace(b"(the text) Tj", b"(the text Tj "),
        whole.replace(b"/Pages 2 0 R", b"/Pages 4 0 R"),
    ):
        with pytest.raises(Opaque):
            pdf.text_of(damaged, ROOM)


def test_all_parts_of_a_word_document_are_read(make):
    parts = {
        "word__header1_xml": "<h>the header</h>",
        "word__comments_xml": "<c>the comment</c>",
        "word__footnotes_xml": "<f>the note</f>",
        "docProps__core_xml": "<d><title>the title</title></d>",
        "word__drawing_xml": '<d descr="the alternative text" id="7"/>',
    }
    found, remark = office.text_of(make.docx(make.runs("ign", "ore"), **parts), ROOM)
    for text in ("ignore", "header", "comment", "note", "title", "alternative text"):
        assert text in found
    assert remark == ""
    pictured = make.docx("", word__media__image1_png=b"\x89PNG")
    assert office.text_of(pictured, ROOM)[1] == office.IMAGES


def test_the_cells_of_a_workbook_stand_side_by_side(make):
    rows = [
        '<c t="s"><v>1</v></c><c><v>42.5</v></c><c t="inlineStr"><is><t>inline</t></is></c>',
        '<c t="s"><v>0</v></c><c><f>HYPERLINK("x")</f><v>1</v></c>',
    ]
    found, _ = office.text_of(make.xlsx(rows, ["zero", "one"]), ROOM)
    assert "Plan" in found
    lines = [line.split() for line in found.splitlines()]
    assert ["one", "42.5", "inline"] in lines
    assert any("HYPERLINK" in line for line in found.splitlines())
    for broken in ("9", "-1", "x"):
        with pytest.raises(Opaque, match="well-formed"):
            office.text_of(make.xlsx([f'<c t="s"><v>{broken}</v></c>'], ["a"]), ROOM)


def test_slides_and_open_documents_are_read(make):
    slide = "<p:sld xmlns:p='p' xmlns:a='a'><a:p><a:r><a:t>on a slide</a:t></a:r></a:p></p:sld>"
    entries = {
        "[Content_Types].xml": make.types,
        "ppt/presentation.xml": "<p/>",
        "ppt/slides/slide1.xml": slide,
        "ppt/notesSlides/notesSlide1.xml": slide.replace("on a slide", "in the notes"),
    }
    found, _ = office.text_of(make.package(entries), ROOM)
    assert {"on a slide", "in the notes"} <= set(found.splitlines())
    assert office.text_of(make.odt("an open document"), ROOM) == ("an open document", "")


LOADS = (
    '<Relationships><Relationship Type="http://x/attachedTemplate" TargetMode="External" '
    'Target="http://x.test/t.dotm"/></Relationships>'
)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"word__vbaProject_bin": b"x"}, "macros"),
        ({"word__embeddings__oleObject1_bin": b"x"}, "macros"),
        ({"word__activeX__activeX1_xml": "<x/>"}, "macros"),
        ({"word__afchunk_html": "<p>x</p>"}, "unknown kind"),
        ({"word___rels__settings_xml_rels": LOADS}, "from elsewhere"),
        ({"word__x_xml": "<a>"}, "well-formed"),
        ({"word__x_xml": "<!DOCTYPE a><a/>"}, "entities"),
    ],
)
def test_an_office_document_that_holds_more_than_is_read_is_opaque(make, parts, reason):
    with pytest.raises(Opaque, match=reason):
        office.text_of(make.docx(make.runs("x"), **parts), ROOM)


def test_other_packages_are_archives(make):
    for entries in (
        {"a.txt": "x"},
        {"[Content_Types].xml": make.types, "a.xml": "<a/>"},
        {"mimetype": "application/epub+zip", "content.xml": "<a/>"},
        {
            "[Content_Types].xml": make.types,
            "word/document.xml": "<a/>",
            "xl/workbook.xml": "<a/>",
        },
    ):
        with pytest.raises(Opaque, match=r"^archive$"):
            office.text_of(make.package(entries), ROOM)
    odd = make.docx("").replace(b"word/document.xml", b"word/Document.xml")
    with pytest.raises(Opaque):
        office.text_of(odd, ROOM)
    macros = {
        "[Content_Types].xml": "application/vnd.ms-word.macroEnabled",
        "word/document.xml": "",
    }
    with pytest.raises(Opaque, match="macros"):
        office.text_of(make.package(macros), ROOM)


def test_markup_is_read_as_it_stands_and_as_it_reads():
    html = b"<p title='a title'>ig<b>no</b>re&nbsp;this</p><!-- a comment -->"
    text, remark = markup.text_of(html, "text/html", ROOM)
    assert text.startswith(html.decode())
    for read in ("a title", "ignore\xa0this", "\na comment"):
        assert read in text.removeprefix(html.decode())
    assert remark == ""
    svg = b"<svg onload='x()'><text>seen</text><script>y()</script></svg>"
    text, remark = markup.text_of(svg, "image/svg+xml", ROOM)
    assert remark == markup.SCRIPTS
    assert text.endswith("seen\ny()")
    with pytest.raises(Opaque, match="entities"):
        markup.text_of(b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "", ROOM)
    with pytest.raises(Opaque, match="entities"):
        markup.text_of(b"<!DOCTYPE svg PUBLIC 'x' 'y' [ ]><svg/>", "", ROOM)
    assert markup.text_of(b"<!DOCTYPE html><p>x", "", ROOM)[0].endswith("x")
