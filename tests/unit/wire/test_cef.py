"""If these fail, an agent writes lines of its own into a SIEM, or a SIEM misreads ours."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exported import event, kinds
from portcullis.wire.cef import cef
from portcullis.wire.syslog import framed, message


def parsed(line: str) -> tuple[list[str], dict[str, str]]:
    """A reader of CEF of the tests' own: header fields and extension, unescaped."""
    head: list[str] = [""]
    rest = iter(line)
    for character in rest:
        if character == "\\":
            head[-1] += next(rest)
        elif character == "|":
            head.append("")
            if len(head) == 8:
                break
        else:
            head[-1] += character
    extension = "".join(rest)
    keys = [*re.finditer(r"(?:^| )([A-Za-z0-9]+)(?<!\\)=", extension)]
    found = {}
    for key, following in zip(keys, [*keys[1:], None], strict=True):
        raw = extension[key.end() : following.start() if following else None]
        found[key[1]] = re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r"}.get(m[1], m[1]), raw)
    return head[:7], found


@pytest.mark.parametrize("one", kinds(), ids=lambda one: f"{one.type}-{one.id[-2:]}")
def test_every_kind_of_event_is_one_readable_line(one) -> None:
    line = cef(7, one, "1.2|3")
    assert "\n" not in line
    head, extension = parsed(line)
    assert head[:4] == ["CEF:0", "Portcullis", "Portcullis", "1.2|3"]
    assert head[4] == (one.code or one.type.value)
    assert 0 <= int(head[6]) <= 10
    assert extension["externalId"] == one.id
    assert extension["cn1"] == "7"
    assert extension["rt"] == str(int(one.time.timestamp() * 1000))


@given(text=st.text(max_size=60), code=st.text(min_size=1, max_size=20))
def test_no_text_of_an_agents_breaks_out_of_its_field(text: str, code: str) -> None:
    line = cef(0, event(0, reason=text, name="x", code=code, verdict="deny"), "1")
    assert len(line.splitlines()) == 1
    head, extension = parsed(line)
    assert len(head) == 7
    kept = re.sub("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]", "\ufffd", text)
    assert extension.get("reason", "") == kept
    assert extension["externalId"] == "0" * 32


def test_the_escapes_are_those_of_the_format() -> None:
    line = cef(0, event(0, reason="a=b\\c|d\r\ne", code="P|C\\1\n2", verdict="deny"), "1")
    assert "reason=a\\=b\\\\c|d\\r\\ne " in line
    assert "|P\\|C\\\\1 2|" in line


def test_a_syslog_message_has_the_header_of_rfc_5424_and_is_counted() -> None:
    said = message(event(2, verdict="deny", code="PC4001"), "CEF:0|é", "gate host\n")
    assert said == (
        "<107>1 2030-01-31T12:00:02.123456Z gatehost portcullis - tool_call - CEF:0|é".encode()
    )
    assert framed([b"abc", said]) == b"3 abc" + b"%d " % len(said) + said
