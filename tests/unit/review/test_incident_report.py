"""If these fail, a report of an incident cannot be trusted, or is an attack on its reader."""

from __future__ import annotations

import re
import zipfile
from html.parser import HTMLParser
from io import BytesIO

import pytest
from msgspec.structs import replace

from histories import SHOP, Past, second
from portcullis.audit.note import Signer, Verifier
from portcullis.core.errors import Problem
from portcullis.core.incident import (
    Access,
    Asked,
    Credential,
    Done,
    Incident,
    Judged,
    Note,
    Phase,
    Rotated,
    Step,
    Ticked,
)
from portcullis.review import incident_radius, incident_report
from portcullis.review.incident_package import archive, package, verify
from portcullis.review.incident_report import Reporting
from portcullis.review.incident_text import Grid, html, in_markdown, markdown, parts

EVIL = (
    '<script>alert(1)</script>" onmouseover="x',
    "[click](javascript:alert(1)) ![x](https://evil.example/x.png)",
    "| cell | `code` **bold** <img src=x>\n# heading",
    "www.evil.example a@evil.example https://evil.example &lt;b&gt; \x1b[31m\u202e",
)
SIGNER = Signer("example.org/incidents", b"\x07" * 32)


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    made = Past(tmp_path_factory.mktemp("report"))
    made.call(0, "crm.read")
    for number, text in enumerate(EVIL):
        made.call(1 + number, f"mail.{text}", risk="external", reason=text, source=f"{text}:1",
                  commitments={"arguments.to": "hmac-sha256:" + "ab" * 32},
                  parameters={text: text}, findings=(f"{text}@x",))  # fmt: skip
    made.call(9, "crm.read", verdict="deny", code="PC3002", log="gw-2")
    made.admin(10, "kills.kill", name="agent:shop", parameters={"reason": EVIL[0]})
    yield made.written()
    made.close()


def incident(past: Past) -> Incident:
    drawn = past.findings.read(SHOP, second(0), 0.0)
    accesses = [
        Access(reference=f"file:/keys/{number}", source="file", upstream=text, why=text)
        for number, text in enumerate(EVIL)
    ]
    done = Rotated(reference="file:/keys/0", rotated=True, verified=True)
    return Incident(
        id="0123",
        subject=SHOP,
        playbook="hostile-agent",
        opened_at=second(20),
        by="operator:olga",
        reason=EVIL[0],
        since=second(0),
        phase=Phase.AUDITED,
        steps=(
            Done(step=Step.CONTAIN, at=second(21), by=EVIL[1], reason=EVIL[2],
                 facts={"gateways": [EVIL[0]], EVIL[1]: {"x": EVIL[3]}}),
        ),
        notes=(Note(at=second(22), by="operator:olga", text="Mr Smith lives in Elm Street"),),
        ticked=(Ticked(id="contain.told", at=second(23), by="operator:olga", reason=EVIL[1]),),
        credentials=tuple(
            Credential(access=one, rotated=None if number else done, by="operator:olga",
                       reason="" if number < 2 else EVIL[0], at=second(24))
            for number, one in enumerate(accesses)
        ),
        findings=tuple(
            Judged(finding=one, verdict="harm", by="operator:olga", reason=EVIL[2], at=second(25))
            for one in drawn.findings
        ),
        digest=drawn.digest,
        sizes=drawn.sizes,
        asked=Asked(at=second(26), by="operator:olga", reason=EVIL[3], days=14, factor=0.5),
    )  # fmt: skip


@pytest.fixture(scope="module")
def facts(past):
    reporting = Reporting(past.happened, past.logs, past.radius, "1.2.3")
    return reporting.facts(incident(past), second(30))


@pytest.fixture(scope="module")
def packed(past, facts) -> bytes:
    return package(facts, past.logs(), SIGNER)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_nothing_that_others_chose_is_markup_in_the_html(facts) -> None:
    page = html(facts)
    tags = _Tags()
    tags.feed(page)
    assert tags.seen == {
        *("html", "head", "meta", "title", "style", "body"),
        *("h1", "h2", "p", "table", "tr", "th", "td"),
    }
    assert tags.attributes == {"lang", "charset", "http-equiv", "content", "name"}
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_nothing_that_others_chose_is_markup_in_the_markdown(facts) -> None:
    page = markdown(facts)
    assert not re.search(r"(?<!\\)[<`]", page)
    assert not re.search(r"(?<!\\)\]\(|https?://|www\.|\w@\w", page)
    assert "\x1b" not in page
    assert "\u202e" not in page
    widths = [len(re.findall(r"(?<!\\)\|", row)) for row in page.split("\n") if row.startswith("|")]
    expected = [
        len(one.head) + 1 for one in parts(facts) if isinstance(one, Grid)
        for _ in range(len(one.rows) + 2)
    ]  # fmt: skip
    assert widths == expected
    headings = [row for row in page.split("\n") if row.startswith("#")]
    assert len(headings) == 8


@pytest.mark.parametrize("text", EVIL, ids=range(len(EVIL)))
def test_what_is_escaped_can_be_read_again(text) -> None:
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", in_markdown(plain)) == plain


def test_the_report_says_who_did_what_when_and_why(facts) -> None:
    page = markdown(facts).replace("\\", "")
    for said in (
        "Incident 0123: agent:shop",
        "2026-03-02 09:00:21Z",
        "operator:olga",
        "rotated and seen to be another",
        "Nobody has approved it.",
        "harm",
        "crm.read (PC3002): was refused, once",
        "around the gate",
        facts.incident.digest,
        facts.logs["gw-2"].partition("+")[0],
    ):
        assert said in page


def test_notes_are_in_it_by_their_digest_alone_unless_they_are_asked_for(past, facts) -> None:
    assert "Elm Street" not in markdown(facts) + html(facts)
    reporting = Reporting(past.happened, past.logs, past.radius, "1.2.3")
    assert "Elm Street" in html(reporting.facts(incident(past), second(30), notes=True))


def test_an_auditor_verifies_the_archive_with_two_kinds_of_public_keys(past, packed, facts) -> None:
    keys = {name: Verifier.parse(key) for name, key in facts.logs.items()}
    found = verify(packed, SIGNER.verifier, keys)
    assert found.ok, found.reasons
    named = sum(map(len, facts.marks().values()))
    assert (found.incident, found.proofs, found.unproven) == ("0123", named, 0)
    with zipfile.ZipFile(BytesIO(packed)) as file:
        assert file.testzip() is None
        assert "report.html" in file.namelist()


def test_whatever_byte_is_another_it_does_not_verify(packed) -> None:
    step = max(1, len(packed) // 400)
    for place in range(0, len(packed), step):
        changed = bytearray(packed)
        changed[place] ^= 0x01
        assert not verify(bytes(changed), SIGNER.verifier).ok, place
    assert not verify(packed + b"\0", SIGNER.verifier).ok
    assert not verify(packed[:-1], SIGNER.verifier).ok


def test_an_archive_of_another_maker_or_another_log_does_not_verify(packed, facts) -> None:
    other = Signer("example.org/incidents", b"\x08" * 32)
    assert not verify(packed, other.verifier).ok
    assert not verify(packed, SIGNER.verifier, {"gone": SIGNER.verifier}).ok
    strange = Signer("example.org/gate", b"\x09" * 32).verifier
    assert (
        "another than the manifest's"
        in verify(packed, SIGNER.verifier, {"gate": strange}).reasons[0]
    )


def test_a_maker_who_leaves_out_a_proof_or_lies_about_an_event_is_found_out(past, facts) -> None:
    (log, indexes), *_ = facts.marks().items()
    whole = package(facts, past.logs(), SIGNER)
    with zipfile.ZipFile(BytesIO(whole)) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    gone = f"proofs/{log}-{min(indexes)}.tlog-proof"
    lines = contents["manifest"].decode().split("\n\n")[0].split("\n")
    del contents[gone]
    kept = [line for line in lines if not line.endswith(gone)]
    contents["manifest"] = SIGNER.sign("\n".join(kept) + "\n")
    found = verify(archive(contents), SIGNER.verifier)
    assert found.reasons == (f"{log} {min(indexes)}: there is no proof of it",)
    lie = replace(facts, rows=(replace(facts.rows[0], outcome="deny"), *facts.rows[1:]))
    found = verify(package(lie, past.logs(), SIGNER), SIGNER.verifier)
    assert "says otherwise than the log" in found.reasons[0]


def test_what_is_no_archive_is_refused_and_nothing_more(packed) -> None:
    for data in (b"", b"PK\x05\x06" + b"\0" * 18, b"x" * 1000, packed[:5000], archive({"a": b""})):
        assert not verify(data, SIGNER.verifier).ok
    with zipfile.ZipFile(out := BytesIO(), "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb", b"\0" * 10**6)
    assert not verify(out.getvalue(), SIGNER.verifier).ok


def test_what_is_not_signed_yet_is_said_not_to_be_proven(tmp_path) -> None:
    made = Past(tmp_path)
    made.call(0, "mail.send", risk="external")
    made.written()
    reporting = Reporting(made.happened, made.logs, made.radius, "1")
    facts = reporting.facts(
        Incident(id="9", subject=SHOP, playbook="p", opened_at=1.0, by="o", reason="r", since=0.0),
        2.0,
    )
    lost = replace(facts, rows=(replace(facts.rows[0], index=7), *facts.rows))
    found = verify(package(lost, made.logs(), SIGNER), SIGNER.verifier)
    assert (found.ok, found.unproven, found.proofs) == (True, 1, 1)
    with pytest.raises(Problem):
        verify_or_raise(made)
    made.close()


def test_a_flood_hides_no_last_deed_and_what_came_after_the_end_is_no_part(
    tmp_path, monkeypatch
) -> None:
    made = Past(tmp_path)
    for number in range(30):
        made.call(number, "crm.read")
    made.call(40, "notes.put", risk="modify")
    made.call(90, "mail.send", risk="external")
    made.written()
    monkeypatch.setattr(incident_report, "WALK", 10)
    monkeypatch.setattr(incident_radius, "WALK", 10)
    ended = Done(step=Step.CLOSE, at=second(50), by="o", reason="r", ended_at=second(50))
    over = replace(incident(made), phase=Phase.CLOSED, steps=(ended,), until=second(50))
    facts = Reporting(made.happened, made.logs, made.radius, "1").facts(over, second(99))
    assert [row.name for row in facts.rows] == ["notes.put"]
    assert (facts.counted, facts.whole) == (10, False)
    assert [one.tool for one in facts.radius.written] == ["notes.put"]
    made.close()


def verify_or_raise(made: Past) -> None:
    """A log whose files are gone gives no proof and no report."""
    for path in made.places["gate"].rglob("tile/*"):
        if path.is_dir():
            for one in sorted(path.rglob("*"), reverse=True):
                one.rmdir() if one.is_dir() else one.unlink()
    made.timeline.read(SHOP, 0.0, 0.0)
