import socket
import threading
import time

import pytest

from portcullis.catalogue.inventory import LOOK_AGAIN_SECONDS, LocalInventory
from portcullis.catalogue.schema import MAX_SCHEMA_BYTES, UnusableSchema
from portcullis.core.call import ToolSpec
from portcullis.core.ports import Inventory

SEARCH = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "limit": {"type": "integer", "maximum": 9}},
    "required": ["id"],
}
DRAFT7 = "http://json-schema.org/draft-07/schema#"


def inventory_of(schema, output=None):
    inventory: Inventory = LocalInventory()
    inventory.learn("s", [ToolSpec(name="t", input_schema=schema, output_schema=output)])
    return inventory


def broken(schema, arguments):
    return inventory_of(schema).validate("s", "t", arguments)


def test_arguments_that_fit_pass_and_others_name_field_and_rule():
    assert broken(SEARCH, {"id": "x", "limit": 9}) == ()
    assert broken(SEARCH, {"id": 1}) == ("$.id: type",)
    assert broken(SEARCH, {"id": "x", "limit": 10}) == ("$.limit: maximum",)
    assert broken(SEARCH, {}) == ("$: required (id)",)


@pytest.mark.parametrize("value", ["5", 5.5, True, None, [5], {"n": 5}])
def test_nothing_is_converted_to_fit(value):
    assert broken(SEARCH, {"id": "x", "limit": value}) == ("$.limit: type",)


def test_what_is_broken_is_said_without_values():
    value = "the value of an argument"
    found = broken(SEARCH, {"id": {value: value}, value: value, "limit": value})
    assert len(found) == 3
    assert value not in " ".join(found)


@pytest.mark.parametrize("draft", [None, DRAFT7, "https://json-schema.org/draft/2019-09/schema"])
def test_arguments_that_the_schema_does_not_name_are_refused(draft):
    schema = SEARCH | ({"$schema": draft} if draft else {})
    assert broken(schema, {"id": "x", "admin": True})
    assert broken(schema, {"id": "x"}) == ()
    assert broken(schema | {"additionalProperties": True}, {"id": "x", "admin": True}) == ()
    assert broken({"type": "object", "properties": {}}, {"any": 1})
    assert broken({"type": "object"}, {"any": 1}) == ()


def test_arguments_named_by_a_composed_schema_are_known():
    schema = {
        "properties": {"a": {"type": "string"}},
        "allOf": [{"$ref": "#/$defs/more"}],
        "$defs": {"more": {"properties": {"b": {"type": "integer"}}}},
    }
    assert broken(schema, {"a": "x", "b": 1}) == ()
    assert broken(schema, {"a": "x", "c": 1})


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$schema": "http://localhost/meta", "type": "object"},
        {"$ref": "file:///etc/passwd"},
        {"properties": {"a": {"$ref": "other.json"}}},
        {"$ref": "#/$defs/missing"},
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"$dynamicRef": "#x"},
        {"properties": {"a": {"pattern": "(?=x)y"}}},
        {"properties": {"a": {"pattern": "((a{1,999}){1,999}){1,999}"}}},
        {"properties": {"a": {"$id": "http://localhost/x", "$ref": "#/y"}}},
        {"description": "x" * MAX_SCHEMA_BYTES},
        {"maximum": float("nan"), "x": {1, 2}},
    ],
)
def test_a_tool_whose_schema_cannot_be_enforced_is_unusable(schema):
    inventory = inventory_of(schema)
    assert inventory.tool("s", "t") is not None
    assert inventory.validate("s", "t", {}) == ("$: the tool's schema cannot be enforced",)


def test_a_schema_is_never_fetched():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.setblocking(False)  # noqa: FBT003 - the socket's own signature
        port = server.getsockname()[1]
        for scheme in ("http", "https"):
            schema = {"properties": {"a": {"$ref": f"{scheme}://127.0.0.1:{port}/x.json"}}}
            assert inventory_of(schema).validate("s", "t", {"a": 1})
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_pattern_cannot_stall_the_gate():
    schema = {"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    begin = time.perf_counter()
    assert broken(schema, {"a": "a" * 50_000 + "!"}) == ("$.a: pattern",)
    assert time.perf_counter() - begin < 1


def _doubling(levels):
    names = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 2} for n in range(1, levels)}
    return {"$defs": {"d0": {"type": "string"}, **names}, "$ref": f"#/$defs/d{levels - 1}"}


def _recursive(combine):
    both = {combine: [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}]}
    node = {"type": "object", "properties": {"next": both, "bad": False}}
    return {"$defs": {"a": node, "b": {**node, "title": "b"}}, "$ref": "#/$defs/a"}


def _nested(levels):
    value = {"bad": 1}
    for _ in range(levels):
        value = {"next": value}
    return value


@pytest.mark.parametrize("schema", [_doubling(40), *map(_recursive, ("anyOf", "allOf", "oneOf"))])
def test_a_schema_that_explodes_is_cut_off(schema):
    begin = time.perf_counter()
    inventory = inventory_of({"properties": {"next": schema}})
    for depth in (1, 5, 20, 60):
        assert inventory.validate("s", "t", _nested(depth))
    assert time.perf_counter() - begin < 1


def test_to_ask_what_a_schema_costs_does_not_keep_others_waiting():
    shared = {"allOf": [{}] * 100, "properties": {"x": {"$ref": "#"}}}
    crowd = {f"p{n}": {"$ref": "#/$defs/shared"} for n in range(1000)}
    begin = time.perf_counter()
    assert broken({"$defs": {"shared": shared}, "properties": crowd}, {})
    assert time.perf_counter() - begin < 1


def test_a_long_list_of_costly_tools_keeps_nobody_waiting():
    costly = {"properties": {f"p{n}": {"type": "string", "format": "uri"} for n in range(500)}}
    tools = [ToolSpec(name=f"t{n}", input_schema=costly | {"title": str(n)}) for n in range(1000)]
    inventory = LocalInventory()
    begin = time.perf_counter()
    inventory.learn("s", tools)
    assert time.perf_counter() - begin < 1
    assert inventory.validate("s", "t999", {"p0": 1})


@pytest.mark.parametrize(
    "value",
    [
        {"v": [{"a": [[["x"]]]}] * 3},
        {"v": "x"},
    ],
)
def test_ordinary_recursive_schemas_work_at_any_depth(value):
    reference = {"$ref": "#/$defs/json"}
    kinds = [
        {"type": "string"},
        {"type": "array", "items": reference},
        {"type": "object", "additionalProperties": reference},
    ]
    schema = {"properties": {"v": reference}, "$defs": {"json": {"anyOf": kinds}}}
    assert broken(schema, value) == ()
    deep = "x"
    for _ in range(60):
        deep = [deep]
    assert broken(schema, {"v": deep}) == ()


def test_a_tool_that_its_server_lists_twice_is_unusable():
    inventory = LocalInventory()
    inventory.learn("s", [ToolSpec(name="t", input_schema={}), ToolSpec(name="t", input_schema={})])
    assert inventory.validate("s", "t", {})


def test_a_server_cannot_shadow_anothers_tool():
    inventory = inventory_of(SEARCH)
    inventory.learn(
        "evil", [ToolSpec(name="t", input_schema={}), ToolSpec(name="s.t", input_schema={})]
    )
    assert inventory.validate("s", "t", {}) == ("$: required (id)",)


def test_learning_replaces_and_a_forgotten_server_is_unknown():
    inventory = inventory_of(SEARCH)
    assert inventory.known("s")
    assert not inventory.known("other")
    inventory.learn("s", [ToolSpec(name="u", input_schema=SEARCH)])
    assert inventory.tool("s", "t") is None
    with pytest.raises(KeyError):
        inventory.validate("s", "t", {"id": "x"})
    inventory.forget("s")
    inventory.forget("s")
    assert not inventory.known("s")
    inventory.learn("s", [])
    assert inventory.known("s")
    with pytest.raises(KeyError):
        inventory.validate("s", "u", {"id": "x"})


def test_a_server_cannot_get_rid_of_a_tools_schema_while_the_tool_is_called():
    inventory = LocalInventory()
    promised = {"type": "object", "required": ["ok"]}
    inventory.learn("s", [ToolSpec(name="t", input_schema=SEARCH, output_schema=promised)])
    inventory.forget("s")
    assert not inventory.known("s")
    called = inventory.tool("s", "t")
    assert inventory.validate_output("s", called, {}) == ("$: required (ok)",)
    for other in ([ToolSpec(name="t", input_schema=SEARCH)], []):
        inventory.learn("s", other)
        assert inventory.validate_output("s", called, {}) == ("$: required (ok)",)


def test_a_tool_that_is_not_there_is_looked_for_again_but_not_all_the_time():
    now = [100.0]
    inventory = LocalInventory(monotonic=lambda: now[0])
    inventory.learn("s", [ToolSpec(name="t", input_schema={})])
    assert not inventory.due("s", "gone")
    now[0] += LOOK_AGAIN_SECONDS
    assert not inventory.due("s", "t")
    assert [inventory.due("s", name) for name in ("gone", "gone", "other")] == [True, False, False]
    assert inventory.due("other", "gone")


def test_the_policys_schema_holds_beside_the_servers():
    inventory = inventory_of(SEARCH)
    inventory.narrow({"s.t": {"id": {"pattern": "^C-[0-9]+$"}, "absent": {"type": "string"}}})
    assert inventory.validate("s", "t", {"id": "C-1"}) == ()
    assert inventory.validate("s", "t", {"id": "D-1"}) == ("$.id: pattern",)
    with pytest.raises(UnusableSchema):
        inventory.narrow({"s.t": {"id": {"type": "nonsense"}}})
    assert inventory.validate("s", "t", {"id": "D-1"}) == ("$.id: pattern",)
    inventory.narrow({})
    assert inventory.validate("s", "t", {"id": "D-1"}) == ()


def test_structured_results_are_held_against_the_output_schema():
    def broken_by(value, schema):
        inventory = inventory_of({}, schema)
        return inventory.validate_output("s", inventory.tool("s", "t"), value)

    assert broken_by({"total": 1}, {"type": "object", "required": ["total"]}) == ()
    assert broken_by({}, {"type": "object", "required": ["total"]}) == ("$: required (total)",)
    assert broken_by(object(), None) == ()
    assert broken_by({}, {"type": "nonsense"})


def test_a_value_that_is_not_json_does_not_fit():
    for value in (object(), "\ud800", b"x"):
        assert broken({"properties": {"a": {"type": "string", "pattern": "^x"}}}, {"a": value})


def test_validators_may_be_used_by_every_thread():
    inventory, found = inventory_of(SEARCH), []
    threads = [
        threading.Thread(target=lambda: found.append(inventory.validate("s", "t", {"id": 1})))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [("$.id: type",)] * 4


def test_what_policy_tolerates_holds_for_its_tool_and_is_replaced_with_the_policy():
    inventory = LocalInventory()
    assert inventory.tolerated("s", "t") == {}
    inventory.tolerate({"s.t": {"url": frozenset({"ssrf"})}})
    assert inventory.tolerated("s", "t") == {"url": frozenset({"ssrf"})}
    assert inventory.tolerated("s", "u") == {}
    inventory.tolerate({})
    assert inventory.tolerated("s", "t") == {}
