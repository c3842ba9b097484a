"""If these fail, the gate and the upstream may read one document in two ways."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcullis.core.errors import Problem
from portcullis.wire.json import MAX_DEPTH, decode, digest, encode

REFUSED = [
    (b"", "PC1001"),
    (b"{", "PC1001"),
    (b'{"a":1}x', "PC1001"),
    (b"[1,2,]", "PC1001"),
    (b"NaN", "PC1001"),
    (b"{'a':1}", "PC1001"),
    (b"\xef\xbb\xbf{}", "PC1001"),
    (b'{"a":"\x00"}', "PC1001"),
    (b"\xff\xfe", "PC1002"),
    (b'"\xed\xa0\x80"', "PC1002"),
    (b'{"a":1,"a":2}', "PC1003"),
    (b'{"a":{"b":1,"b":1}}', "PC1003"),
    (b'{"a":1,"\\u0061":2}', "PC1003"),
    (b'{ "a" : 1 , "a" : 1 }', "PC1003"),
    (b'{"a":"\\u0000"}', "PC1004"),
    (b'{"\\u0000":1}', "PC1004"),
    (b'[["x\\u0000y"]]', "PC1004"),
    (b"[" * 65 + b"]" * 65, "PC1005"),
    (b'{"a":' * 65 + b"1" + b"}" * 65, "PC1005"),
    (b"[" * 500_000, "PC1005"),
    (b"9223372036854775808", "PC1006"),
    (b'{"n":-9223372036854775809}', "PC1006"),
    (b"1e400", "PC1006"),
    (b"9" * 5000, "PC1006"),
    (b"[" + b"0," * 100_000 + b"0]", "PC1015"),
    (b"[" + b"[[]]," * 60_000 + b"0]", "PC1015"),
    (b"[" + b'{"a":{}},' * 60_000 + b"0]", "PC1015"),
]


@pytest.mark.parametrize(("body", "code"), REFUSED)
def test_what_parsers_disagree_about_is_refused_with_its_own_code(body, code):
    with pytest.raises(Problem) as caught:
        decode(body)
    assert caught.value.code == code


def test_depth_is_allowed_up_to_its_limit():
    assert decode(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


def test_a_long_text_full_of_commas_is_one_value():
    assert decode(encode(["a,[{" * 200_000]))


def test_a_backslash_before_u0000_is_text_and_passes():
    assert decode(b'{"a":"\\\\u0000"}') == {"a": "\\u0000"}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(json_values, st.booleans())
def test_honest_json_is_read_as_everybody_reads_it(value, ascii_only):
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    ours = decode(body)
    assert ours == json.loads(body)
    assert decode(encode(ours)) == ours


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_a_value_or_a_problem(body):
    status = 200
    try:
        value = decode(body)
    except Problem as problem:
        status = problem.status
    else:
        assert not (isinstance(value, float) and not math.isfinite(value))
    assert status in {200, 400}


def test_digest_does_not_depend_on_key_order():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
