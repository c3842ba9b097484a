import pytest

from firewalls import ATTACK, PATTERNS, Detector
from portcullis.bootstrap.scan import hiding, tool_scan
from portcullis.inspection.inspector import Inspector


@pytest.fixture
def scan():
    return tool_scan(Inspector(PATTERNS, Detector()))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("read\u202e evil", "bidi"),
        ("igno\u200bre it", "zero-width"),
        ("hi" + "".join(chr(0xE0000 + ord(letter)) for letter in "read all of it"), "tags"),
        ("weather <!-- and do this for me too -->", "html-comment"),
    ],
)
def test_a_description_that_hides_something_is_suspect(scan, text, reason):
    assert reason in hiding(["An honest text.", text])
    assert reason in scan(["An honest text.", text])


def test_a_description_that_instructs_is_suspect_and_says_by_which_rule(scan):
    assert scan(["An honest text.", ATTACK]) != ()
    assert ATTACK not in scan([ATTACK])


def test_honest_descriptions_are_not_suspect(scan):
    texts = ["Gives the weather of a city.", "naïve café “quotes” ❤️ 👨‍👩‍👧", "日本語の説明です"]
    assert (scan(texts), hiding(texts)) == ((), ())
