"""Packages: whole, signed, provable; and safe to open."""

from __future__ import annotations

import re
import secrets
from datetime import timedelta

import msgspec
import pytest

from portcullis.audit.note import Signer
from portcullis.core.errors import Problem
from portcullis.review.deployment import Deployment
from portcullis.review.evaluate import assess, judge
from portcullis.review.facts import Facts
from portcullis.review.logs import folded
from portcullis.review.manifest import MANIFEST, Manifest, open_manifest
from portcullis.review.package import verify, write
from portcullis.review.subject import Review, Verified
from unit.review.making import ORIGIN, START, created, event, result

EVIL = "<script>alert('1')</script>\x1b[2J\u202e"
AT = START + timedelta(hours=1)
GOOD = Verified(at=AT, ok=True, size=4)


@pytest.fixture
def signer():
    return Signer(f"{ORIGIN}/evidence", secrets.token_bytes(32))


def assessed(place, framework="soc2"):
    facts, _ = folded(place.logs, Facts(origin=ORIGIN))
    settings = Deployment(trust_domain="example.org", plain=(EVIL,))
    review = Review(facts=facts, deployment=settings, at=AT, verified=GOOD)
    return assess(review, framework, judge(review, (framework,)))


def put(place, signer, target, assessment=None, verified=GOOD):
    return write(
        target,
        assessment or assessed(place),
        logs=place.logs,
        signer=signer,
        verified=verified,
        version="1.0",
    )


@pytest.fixture
def package(place, signer, tmp_path):
    place.write([created(0, "agent:b", owner=""), event(1, principal=EVIL), result(2, 1), event(3)])
    target = tmp_path / "packages" / "soc2"
    put(place, signer, target)
    return target


def reasons(package, signer, *log_keys) -> str:
    found = verify(package, signer.verifier, log_keys)
    assert not found.ok
    return "; ".join(found.reasons)


def test_a_package_verifies_with_its_public_key_alone(package, signer, place):
    found = verify(package, signer.verifier)
    assert (found.ok, found.reasons, found.framework, found.size) == (True, (), "soc2", 4)
    assert found.proofs == len(list((package / "proofs").iterdir())) >= 3
    assert verify(package, signer.verifier, [place.verifier]).vouched == (ORIGIN,)
    assert package.stat().st_mode & 0o777 == 0o700
    assert list(package.parent.iterdir()) == [package]


def test_what_agents_call_themselves_cannot_act_in_the_readers_browser(package):
    html = (package / "report.html").read_text()
    assert "&lt;script&gt;alert(&#x27;1&#x27;)" in html
    assert "<script" not in html
    assert "\\x1b[2J\\u202e" in html
    assert html.replace("\n", "").isprintable()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    assert policy.startswith("default-src &#x27;none&#x27;; style-src &#x27;sha256-")
    assert not re.search(r"\s(on\w+|style|src)=", html)
    assert not re.search(r'href="(?!#row-|proofs/gate\.\d+\.tlog-proof")', html)


def test_documents_hold_no_line_that_breaks_them(package):
    for name in ("assessment-results.json", "component-definition.json"):
        document = msgspec.json.decode((package / name).read_bytes())
        assert "\x1b" not in str(document)
        assert "satisfied'" in str(document) or name.startswith("component")
        assert "'satisfied'" not in str(document)


def damaged(package):
    """Each way to touch a package, and what is then said."""
    yield "report.html: changed", lambda: (package / "report.html").write_text("all is well")
    yield "evidence.json: ", (package / "evidence.json").unlink
    yield "'more.html': not listed", lambda: (package / "more.html").write_text("x")
    yield (
        "'proofs/gate.9.tlog-proof': not listed",
        lambda: (package / "proofs/gate.9.tlog-proof").write_text(""),
    )
    yield (
        "checkpoints/gate: a link",
        lambda: (
            (package / "checkpoints/gate").rename(package.parent / "elsewhere"),
            (package / "checkpoints/gate").symlink_to(package.parent / "elsewhere"),
        ),
    )
    yield (
        "manifest: ",
        lambda: (package / MANIFEST).write_bytes(
            (package / MANIFEST).read_bytes().replace(b"soc2", b"soc3")
        ),
    )
    yield "manifest: ", (package / MANIFEST).unlink


@pytest.mark.parametrize("number", range(7))
def test_a_package_that_was_touched_says_where(package, signer, number):
    said, damage = list(damaged(package))[number]
    damage()
    assert said in reasons(package, signer)


def test_another_key_does_not_open_a_package(package, signer, place):
    other = Signer(signer.name, secrets.token_bytes(32))
    assert "not signed by the expected key" in reasons(package, other)
    log = Signer(ORIGIN, secrets.token_bytes(32)).verifier
    assert "the key of the log example.org/gate is another" in reasons(package, signer, log)


def test_a_proof_of_another_event_is_no_proof(package, signer, place):
    one, other = (package / f"proofs/gate.{n}.tlog-proof" for n in (0, 1))
    one.write_bytes(other.read_bytes())
    manifest = open_manifest((package / MANIFEST).read_bytes(), signer.verifier)
    files = manifest.files | {
        "proofs/gate.0.tlog-proof": manifest.files["proofs/gate.1.tlog-proof"]
    }
    forged = msgspec.structs.replace(manifest, files=files)
    (package / MANIFEST).write_bytes(forged.sign(signer))
    assert "proofs/gate.0.tlog-proof: the proof of another event" in reasons(package, signer)


def test_what_does_not_verify_is_no_evidence(place, signer, tmp_path, package):
    bad = Verified(at=AT, ok=False, size=4, reasons=("a tile is missing",))
    with pytest.raises(Problem, match="a tile is missing") as caught:
        put(place, signer, tmp_path / "new", verified=bad)
    assert caught.value.code == "PC6005"
    assert not (tmp_path / "new").exists()


def test_a_package_never_takes_the_place_of_another(place, signer, package):
    before = (package / MANIFEST).read_bytes()
    with pytest.raises(Problem) as caught:
        put(place, signer, package)
    assert caught.value.code == "PC7004"
    assert (package / MANIFEST).read_bytes() == before


def test_a_package_that_cannot_be_written_leaves_nothing_behind(
    place, signer, package, tmp_path, monkeypatch
):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Problem, match="No space left") as caught:
        put(place, signer, tmp_path / "folder" / "new")
    assert caught.value.code == "PC7005"
    assert list((tmp_path / "folder").iterdir()) == []


def test_an_event_that_is_not_in_the_log_cannot_be_named(place, signer, package, tmp_path):
    found = assessed(place)
    seen = found.rows[0].evidence[0]
    invented = msgspec.structs.replace(seen, first=msgspec.structs.replace(seen.first, index=99))
    row = msgspec.structs.replace(found.rows[0], evidence=(invented,))
    with pytest.raises(Problem) as caught:
        put(place, signer, tmp_path / "new", msgspec.structs.replace(found, rows=(row,)))
    assert caught.value.code == "PC6004"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("portcullis.evidence/v2", "portcullis.evidence/v1"),
        ("log 4", "log -4"),
        ("log 4", "log four"),
        ("made 2", "made x"),
        ("origin ", "orgin "),
        ("file ", "file ../"),
        ("report.html", "../report"),
        ("report.html", "checkpoints/gate"),
        ("report.html", "manifest"),
        ("report.html", "a/b"),
    ],
)
def test_a_manifest_is_read_one_way_only(package, signer, old, new):
    text = signer.verifier.open((package / MANIFEST).read_bytes())
    assert old in text
    with pytest.raises(Problem) as caught:
        open_manifest(signer.sign(text.replace(old, new)), signer.verifier)
    assert caught.value.code == "PC6005"


def test_a_manifest_says_what_was_signed(signer):
    said = Manifest(
        origin=ORIGIN, framework="gdpr", made=AT, logs={"k": 7, "l": 0}, files={"a": "0" * 64}
    )
    assert open_manifest(said.sign(signer), signer.verifier) == said


@pytest.mark.parametrize(
    ("true", "told"), [("orders.search", "orders.refund"), ('"agent:', '"operator:')]
)
def test_what_is_told_of_an_event_is_what_its_proof_holds(place, signer, tmp_path, true, told):
    place.write([created(0), event(1), result(2, 1)])
    found = assessed(place)
    altered = msgspec.json.encode(found).replace(true.encode(), told.encode(), 1)
    target = tmp_path / "altered"
    put(place, signer, target, msgspec.json.decode(altered, type=type(found)))
    assert "the proof of another event" in reasons(target, signer)


def test_what_is_told_of_nothing_is_no_evidence(place):
    place.write([created(0, "agent:b")])
    found = {row.control: row for row in assessed(place, "nist-800-53").rows}
    assert found["AC-6"].settings == {"granted": "none"}
    assert found["AC-6"].state == "not evaluated"
