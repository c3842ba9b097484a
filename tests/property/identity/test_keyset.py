"""Whatever an issuer publishes, it gives keys or a plain refusal, and never a key we do not use."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from issuers import Issuer
from portcullis.identity.keyset import parse
from portcullis.identity.oidc import ALGORITHMS

KEYS = json.loads(Issuer().jwks())["keys"]
MEMBERS = sorted({name for key in KEYS for name in key} | {"d", "k", "key_ops", "x5c", "p"})
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from(["", "AAAA"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def tried(document: bytes) -> dict:
    try:
        return dict(parse(document))
    except ValueError:
        return {}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(KEYS), st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=3))
def test_a_key_with_any_members_changed_is_read_or_left_out(key, changes):
    for kid, found in tried(json.dumps({"keys": [key | changes]}).encode()).items():
        assert kid == (key | changes)["kid"]
        assert found.algorithms
        assert found.algorithms <= ALGORITHMS


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps({"keys": value}).encode()))
def test_any_bytes_are_refused_or_hold_no_key(document):
    assert tried(document) == {}
