import asyncio
import io
import os
import subprocess
import sys
import time
import zipfile

import pytest
import uvloop

from portcullis.config.inspection import Extraction
from portcullis.core.inspection_ports import Extractor
from portcullis.execution.extract import extractor as module
from portcullis.execution.extract import process
from portcullis.execution.extract.extractor import LimitedExtractor
from portcullis.execution.extract.kinds import Kind

pytestmark = pytest.mark.anyio
PYTHON = sys.executable


def extracting(**limits):
    found: Extractor = LimitedExtractor(Extraction(**limits))
    return found


@pytest.fixture
def posing(tmp_path, monkeypatch):
    """Have another program stand in for the worker, as one that a document has taken over."""

    def as_worker(script):
        program = tmp_path / "program"
        program.write_text(f"#!{PYTHON} -I\nimport os, sys, time\n{script}\n")
        program.chmod(0o700)
        monkeypatch.setattr(process.sys, "executable", str(program))

    return as_worker


async def test_each_kind_is_read_in_its_process_whatever_it_is_called(make):
    extract = extracting().extract
    for document, text in (
        (make.page("Hello from a page"), "Hello from a page"),
        (make.docx(make.runs("Ign", "ore", " it")), "Ignore it"),
        (b"<p>Ign<b>ore</b> &#105;t</p>", "<p>Ign<b>ore</b> &#105;t</p>\nIgnore it"),
    ):
        for claim in ("image/png", ""):
            assert (await extract(document, claim)).text == text


def test_it_works_on_the_loop_that_the_gate_runs_on(make):
    assert uvloop.run(extracting().extract(make.page("x"), "")).text == "x"


async def test_plain_text_starts_no_process(monkeypatch):
    monkeypatch.setattr(module, "read_apart", None)
    extract = extracting(text_bytes=1024).extract
    assert (await extract("grüße".encode(), "application/pdf")).text == "grüße"
    assert (await extract(b'{"a": 1}', "application/json")).text == '{"a": 1}'
    assert (await extract(b"a,b\n1,2\n", "text/csv")).text == "a,b\n1,2\n"
    assert (await extract(b"x" * 1025, "text/plain")).text is None


async def test_a_text_is_read_as_it_is_and_as_it_is_said_to_be():
    extract = extracting().extract
    latin = "grüße".encode("latin-1")
    assert (await extract(latin, "text/plain")).text is None
    assert (await extract(latin, "text/plain; charset=iso-8859-1")).text == "grüße"
    assert (await extract("\ufeffhi".encode("utf-16"), "text/plain")).text == "hi"
    both = (await extract(b"ignore all of it", "text/plain; charset=utf-16-le")).text
    assert both is not None
    assert both.endswith("ignore all of it")
    for charset in ("utf-7", "idna", "hex", "unicode_escape", "nonsense"):
        said = f"text/plain; charset={charset}"
        assert (await extract(b"+AGkAZw-", said)).text == "+AGkAZw-"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n", "image"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image"),
        (b"ID3\4\0", "audio"),
        (b"\0\0\0\x18ftypmp42", "audio or video"),
        (b"\x1f\x8b\x08\0", "archive"),
        (b"\x7fELF\2\1", "executable"),
        (b"MZ\x90\0\3", "executable"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "document of an old Office"),
        (rb"{\rtf1 hi}", "RTF document"),
        (b"a\0b", "not text, and of no known format"),
        (b"\xff\x00\x12", "not text, and of no known format"),
        (b"note\n%PDF-1.4\n", "it can be read as two formats"),
        (b"PK\x03\x04 %PDF-1.4", "it can be read as two formats"),
        (b"%PDF-1.4 cut", "not a whole PDF, or something is added to it"),
    ],
)
async def test_what_is_no_text_is_opaque_with_its_reason(data, reason):
    found = await extracting().extract(data, "text/plain")
    assert (found.text, found.reason) == (None, reason)


async def test_a_polyglot_is_opaque(make):
    extract = extracting().extract
    packed = make.docx(make.runs("x"))
    for both in (make.page("x") + packed, packed.replace(b"PK\3\4", b"%PDF-PK\3\4", 1)):
        found = await extract(both, "text/plain")
        assert (found.text, found.reason) == (None, "it can be read as two formats")
    assert (await extract(packed + b"<p>more</p>", "")).text is None
    assert (await extract(make.page("x") + b"<script>" + b"x" * 99, "")).text is None


def _bomb(make, size):
    return make.docx(make.runs("x"), word__a_xml=b" " * size)


def _lying(make):
    """A package whose directory says that a bomb is small."""
    found = bytearray(_bomb(make, 10 * 2**20))
    at = found.rindex(b"PK\1\2")
    found[at + 24 : at + 28] = (64).to_bytes(4, "little")
    return bytes(found)


HOSTILE = {
    "a bomb by its own word": lambda make: _bomb(make, 100 * 2**20),
    "a bomb that lies": _lying,
    "too many entries": lambda make: make.package({f"{n}.xml": "" for n in range(4097)}),
    "deep XML": lambda make: make.docx("<a>" * 100_000 + "</a>" * 100_000),
    "billion laughs": lambda make: make.docx(
        "",
        word__b_xml="<!DOCTYPE a [<!ENTITY a 'lol'><!ENTITY b '&a;&a;&a;&a;'>]><a>&b;&b;&b;</a>",
    ),
    "pages in a circle": lambda make: make.pdf(
        "<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 9 >>"
    ),
    "a font in a circle": lambda make: make.pdf("<< /Type /Catalog /Pages 2 0 R >>", "2 0 R"),
    "more pages than anybody reads": lambda make: make.pdf(
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{'3 0 R ' * 50_000}] /Count 50000 >>",
        "<< /Type /Page /Parent 2 0 R >>",
    ),
    "a page that unpacks without end": lambda make: make.page(
        more=(), content=b" " * 10, leaf="/Contents 6 0 R"
    ).replace(b"/Contents 4 0 R", b"/Contents 9 0 R"),
    "a stream that unpacks to a thousand times its size": lambda make: make.pdf(
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /Contents 4 0 R >>",
        make.flate(b"BT (x) Tj ET " * 10_000_000),
    ),
}


@pytest.mark.parametrize("document", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_document_is_opaque_and_costs_no_more_than_its_limits(make, document):
    begin = time.monotonic()
    found = await extracting(seconds=4, memory_bytes=256 * 2**20).extract(document(make), "")
    assert (found.text, bool(found.reason)) == (None, True)
    assert time.monotonic() - begin < 6


async def test_a_document_that_is_too_large_is_not_looked_at(make):
    found = await extracting(document_bytes=1024).extract(make.page("x" * 1024), "")
    assert (found.text, found.reason) == (None, "more than 1024 bytes")


async def test_text_is_never_cut_short(make):
    extract = extracting(text_bytes=1024).extract
    long = "x" * 1100
    for document in (make.page(long), make.docx(make.runs(long)), f"<p>{long}".encode()):
        assert (await extract(document, "")) == module.Extracted(
            text=None, reason="more text than is inspected"
        )


async def test_answers_are_remembered_within_bounds(make, monkeypatch):
    calls = []

    async def counted(data, kind, media_type, limits):
        calls.append(kind)
        return module.Extracted(text="t" * 10)

    monkeypatch.setattr(module, "read_apart", counted)
    monkeypatch.setattr(module, "MAX_REMEMBERED", 2)
    extractor = extracting()
    one, two, three = (make.page(text) for text in "abc")
    for document in (one, one, two, one, three, one, two):
        await extractor.extract(document, "application/pdf")
    assert calls == [Kind.PDF] * 4
    monkeypatch.setattr(module, "REMEMBERED_CHARACTERS", 5)
    for _ in range(2):
        await extractor.extract(make.page("d"), "")
    assert len(calls) == 6


async def test_what_took_too_long_is_not_tried_again_at_once(make, posing):
    posing("time.sleep(60)")
    clock = [0.0]
    extractor = LimitedExtractor(Extraction(seconds=0.2), lambda: clock[0])
    slow = module.Extracted(text=None, reason="it takes too long to read")
    assert await extractor.extract(make.page("x"), "") == slow
    begin = time.monotonic()
    for _ in range(20):
        assert await extractor.extract(make.page("x"), "") == slow
    assert time.monotonic() - begin < 0.2
    posing("print('T\\nread', end='')")
    assert await extractor.extract(make.page("x"), "") == slow
    clock[0] += module.AGAIN
    assert (await extractor.extract(make.page("x"), "")).text == "read"


async def test_only_so_many_run_at_once_and_the_others_wait_or_are_refused(make, monkeypatch):
    running = most = 0
    free = asyncio.Event()

    async def counted(data, kind, media_type, limits):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await free.wait()
        running -= 1
        return module.Extracted(text="read")

    monkeypatch.setattr(module, "read_apart", counted)
    extractor = extracting(processes=2, seconds=0.2)
    documents = [make.page(str(number)) for number in range(40)]
    tasks = [asyncio.create_task(extractor.extract(document, "")) for document in documents]
    await asyncio.sleep(0.3)
    free.set()
    found = [await task for task in tasks]
    assert (most, sum(one.text == "read" for one in found)) == (2, 2)
    assert {one.reason for one in found if one.text is None} == {"busy with other documents"}
    assert (await extractor.extract(documents[-1], "")).text == "read"


async def test_the_process_has_nothing_of_ours(make, posing, monkeypatch):
    monkeypatch.setenv("SECRET_OF_OURS", "x")
    posing(
        "sys.stdin.buffer.read()\n"
        "fds = [fd for fd in range(256) if os.path.exists(f'/proc/self/fd/{fd}')]\n"
        "names = sorted(name for name in os.environ if name != 'LC_CTYPE')\n"
        "alone = os.getsid(0) == os.getpid()\n"
        "print(f'T\\n{names} {fds} {alone} {os.getcwd()}', end='')"
    )
    kept = os.open("/dev/null", os.O_RDONLY)
    try:
        assert (await extracting().extract(make.page("x"), "")).text == "[] [0, 1, 2] True /"
    finally:
        os.close(kept)


@pytest.mark.parametrize(
    "script",
    [
        "time.sleep(60)",
        "os.fork(); time.sleep(60)",
        "sys.stdin.close(); [print('x' * 65536) for _ in range(9999)]",
        "print('T', end='')",
        "print('X\\nabc', end='')",
        "print('T' + 'r' * 300 + '\\nabc', end='')",
        "sys.stdout.buffer.write(b'T\\n\\xff')",
        "os.abort()",
    ],
)
async def test_a_worker_that_was_taken_over_is_believed_nothing_and_killed(make, posing, script):
    posing(script)
    begin = time.monotonic()
    extractor = extracting(seconds=0.5)
    found = await extractor.extract(make.page("x"), "")
    assert (found.text, time.monotonic() - begin < 3) == (None, True)
    posing("sys.stdin.buffer.read(); print('T\\nlater', end='')")
    assert (await extractor.extract(make.page("another"), "")).text == "later"


async def test_a_caller_who_leaves_takes_the_process_along(make, posing, tmp_path):
    posing(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)")
    task = asyncio.create_task(extracting(seconds=30).extract(make.page("x"), ""))
    for _ in range(500):
        await asyncio.sleep(0.01)
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            break
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_within_its_limits_the_worker_can_open_nothing():
    script = (
        "import socket\n"
        "from portcullis.execution.extract.worker import _confine\n"
        "_confine(5, 256 * 2**20)\n"
        "for act in (lambda: open('/etc/passwd'), socket.socket, lambda: b'x' * 2**28):\n"
        "    try:\n        act()\n        print('did')\n"
        "    except (OSError, MemoryError):\n        print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["refused"] * 3


def test_the_hostile_set_is_what_it_says(make):
    with zipfile.ZipFile(io.BytesIO(_lying(make))) as archive:
        assert archive.getinfo("word/a.xml").file_size == 64
