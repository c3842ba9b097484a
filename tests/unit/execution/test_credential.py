"""A credential does not come back, in one piece or in many."""

from __future__ import annotations

import json
import secrets
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portcullis.core.errors import Problem
from portcullis.core.secret import Secret
from portcullis.execution.credential import Credential, ReflectionGuard


class Told(Credential):
    """One whose value a test knows."""

    def __init__(self, value: str) -> None:
        super().__init__(Secret(value))
        self.value = value


def make() -> Told:
    return Told("sk/" + secrets.token_urlsafe(12) + '"+&')


def test_it_is_found_in_the_encodings_of_json_and_urls():
    credential = make()
    value = credential.value
    for form in (
        value,
        json.dumps({"a": [value]}),
        json.dumps(value).replace("/", "\\/"),
        "https://h.example/?k=" + quote(value, safe=""),
    ):
        assert credential.found_in(b"<" + form.encode() + b">")
    assert not credential.found_in(value[:-1].encode())


def test_it_is_found_under_escapes_that_we_would_take_off_ourselves():
    credential = make()
    value = credential.value
    every = "".join(f"\\u{ord(letter):04X}" for letter in value)
    dotnet = json.dumps(value).replace("+", "\\u002B").replace("&", "\\u0026")
    for form in (
        every,
        dotnet,
        json.dumps(dotnet),
        json.dumps(json.dumps(every)),
        "".join(f"%{ord(letter):02x}" for letter in value),
    ):
        data = b"data: " + form.encode() + b"\n"
        assert credential.found_in(data)
        for size in (1, 2, 5, 7):
            guard = ReflectionGuard(credential)
            with pytest.raises(Problem):  # noqa: PT012 - which piece raises does not matter
                for start in range(0, len(data), size):
                    guard.feed(data[start : start + size])
    assert not credential.found_in(every[:-1].encode())


def test_escapes_in_an_innocent_stream_do_not_change_it():
    guard = ReflectionGuard(make())
    data = b'data: "\\u0073k\\n 100%"\n\ndata: "\\u0073'
    passed = b"".join(guard.feed(data[at : at + 1]) for at in range(len(data))) + guard.end()
    assert passed == data


def test_it_is_not_shown_by_accident():
    credential = make()
    assert credential.value not in repr(credential)
    assert credential.value not in f"{credential}"


@pytest.mark.parametrize("value", ["", "short", "1234567", "schlüssel-lang"])
def test_a_credential_that_cannot_be_guarded_is_refused(value):
    with pytest.raises(Problem) as caught:
        Told(value)
    assert caught.value.code == "PC5007"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60), st.lists(st.integers(0, 200), max_size=8))
def test_however_a_reflecting_stream_is_cut_none_of_the_credential_gets_out(before, after, places):
    credential = Told("abcabcabd" + "abc" * 3)
    secret = credential.value.encode()
    guard = ReflectionGuard(credential)
    passed = b""
    with pytest.raises(Problem) as caught:  # noqa: PT012 - which piece raises is the point
        for piece in cut(before + secret + after, places):
            passed += guard.feed(piece)
        passed += guard.end()
    assert caught.value.code == "PC5005"
    assert (before + secret).startswith(passed)
    assert len(passed) <= len(before)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([b"a", b"ab", b"abc", b"abcabcab", b"\n", b"z"]), max_size=30),
    st.lists(st.integers(0, 200), max_size=8),
)
def test_an_innocent_stream_is_passed_on_unchanged(parts, places):
    data = b"".join(parts)
    credential = Told("abcabcabdabc")
    guard = ReflectionGuard(credential)
    passed = b"".join(guard.feed(piece) for piece in cut(data, places)) + guard.end()
    assert passed == data
