"""If these fail, a thief uses a credential that was laid out for him, and nobody sees it."""

from __future__ import annotations

import base64
import secrets
from urllib.parse import quote

import pytest

from portcullis.core.errors import Problem
from portcullis.core.secret import Secret
from portcullis.inspection.honeytokens import Honeytokens

VALUE = "AKIA-" + secrets.token_urlsafe(18) + "+/9Q"


@pytest.fixture(scope="module")
def tokens():
    return Honeytokens(b"k" * 32, (), {"file:/srv/backup.key": Secret(VALUE)})


FORMS = {
    "plain": lambda v: f"key={v};",
    "spaced": " ".join,
    "upper": str.upper,
    "percent": lambda v: quote(v, safe=""),
    "every": lambda v: "".join(f"%{ord(one):02x}" for one in v),
    "base64": lambda v: base64.b64encode(v.encode()).decode(),
    "shifted": lambda v: base64.b64encode(f"x{v}".encode()).decode(),
    "url64": lambda v: base64.urlsafe_b64encode(f"xy{v}zz".encode()).decode(),
    "hex": lambda v: v.encode().hex(),
    "backwards": lambda v: v[::-1],
    "escapes": lambda v: "".join(f"\\u{ord(one):04x}" for one in v),
    "bytes": lambda v: "".join(f"\\x{one:02x}" for one in v.encode()),
    "base32": lambda v: base64.b32encode(f"abc{v}".encode()).decode(),
    "html": lambda v: "".join(f"&#x{ord(one):x};" for one in v),
    "named": lambda v: v.replace("-", "&hyphen;").replace("+", "&plus;").replace("_", "&lowbar;"),
    "utf16": lambda v: base64.b64encode(f"k={v}".encode("utf-16")).decode(),
    "utf16be": lambda v: base64.b64encode(f"{v}.".encode("utf-16-be")).decode(),
    "twice": lambda v: base64.b64encode(base64.b64encode(f"id:{v};".encode())).decode(),
    "twice_url": lambda v: base64.b64encode(base64.urlsafe_b64encode(v.encode() + b"?")).decode(),
    "wide": lambda v: "".join(chr(ord(one) + 0xFEE0) for one in v),
}


@pytest.mark.parametrize("form", FORMS)
def test_it_is_found_however_it_is_written(tokens, form):
    found = tokens.find(f"here: {FORMS[form](VALUE)} it is")
    assert [leak.place for leak in found] == ["honeytoken file:/srv/backup.key"]


def test_other_texts_hold_none_and_canaries_are_found_as_before(tokens):
    assert tokens.find(f"here: {VALUE[:-6]} and {secrets.token_urlsafe(200)}") == ()
    assert [leak.place for leak in tokens.find(tokens.token("s", "document"), "s")] == [
        "document of this session"
    ]


@pytest.mark.parametrize("value", ["too-short", "x" * 300], ids=["short", "long"])
def test_one_that_would_not_be_found_for_certain_is_refused(value):
    with pytest.raises(Problem) as caught:
        Honeytokens(b"k" * 32, (), {"env:X": Secret(value)})
    assert caught.value.code == "PC7001"
