from hypothesis import given, settings
from hypothesis import strategies as st

from portcullis.checks.suspicious import suspicious

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.text() | st.sampled_from(["id", "url", "path"]), JSON, max_size=4), JSON)
def test_no_arguments_and_no_schema_break_the_rules(arguments, schema):
    for found in suspicious(arguments, schema):
        assert len(found) < 2000
        assert found.isprintable()


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.characters(categories=("L", "N", "P", "S", "Zs"))))
def test_no_text_is_suspicious_in_a_field_for_text(text):
    for name in ("text", "email_body", "fileContent", "query"):
        assert suspicious({name: text}, {}) == ()
