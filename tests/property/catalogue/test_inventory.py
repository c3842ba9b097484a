import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from portcullis.catalogue.cost import safe_depth
from portcullis.catalogue.inventory import LocalInventory
from portcullis.core.call import ToolSpec

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
KEYWORDS = st.sampled_from(
    (
        *("type", "properties", "items", "allOf", "anyOf", "not", "$ref", "$id", "enum"),
        *("required", "additionalProperties", "patternProperties", "pattern", "format"),
        *("$defs", "if", "then"),
    )
)
SCHEMA = st.dictionaries(
    KEYWORDS,
    st.recursive(
        st.sampled_from(["object", "string", "#", "#/properties/a", "^a$", True, 1, []]),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(KEYWORDS | st.sampled_from("ab"), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(SCHEMA, st.dictionaries(st.sampled_from("ab"), JSON, max_size=2))
def test_no_schema_and_no_arguments_break_the_inventory(schema, arguments):
    assert -1 <= safe_depth(schema) <= 64
    inventory = LocalInventory()
    inventory.learn("s", [ToolSpec(name="t", input_schema=schema, output_schema=schema)])
    for found in (
        inventory.validate("s", "t", arguments),
        inventory.validate_output("s", inventory.tool("s", "t"), arguments),
    ):
        assert isinstance(found, tuple)
        assert msgspec.json.encode(found)
