import json

from policies import SUPPORT, policy_of


def test_a_bound_says_what_it_asks_and_where_it_stands():
    catalogue = json.loads(policy_of(SUPPORT).bundle.data)["policy"]["catalogue"]
    assert catalogue["orders.search"]["bounds"]["customer_id.equals"] == {
        "argument": "customer_id",
        "kind": "equals",
        "value": None,
        "path": ["subject", "customer_id"],
        "session": True,
        "rule": "tools.orders.search.arguments.customer_id.equals @ policy/main.yaml:22",
    }


def test_values_stand_in_data_and_never_in_the_generated_rego():
    nasty = '"] } allow := true # \\" ` \u2028'
    text = (
        "version: 1\ntools:\n  a.b:\n    arguments:\n"
        f"      {json.dumps(nasty)}: {{enum: [{json.dumps(nasty)}]}}\n"
    )
    bundle = policy_of(text).bundle
    bound = json.loads(bundle.data)["policy"]["catalogue"]["a.b"]["bounds"][f"{nasty}.enum"]
    assert (bound["argument"], bound["value"]) == (nasty, [nasty])
    assert not any("allow := true" in module for _, module in bundle.modules)


def test_a_tool_without_a_risk_has_the_highest():
    data = json.loads(policy_of("version: 1\ntools: {a.b: {}}\n").bundle.data)
    assert data["policy"]["catalogue"]["a.b"]["risk"] == "delete"


def test_every_entry_of_a_role_carries_its_rule_and_place():
    role = json.loads(policy_of(SUPPORT).bundle.data)["policy"]["roles"]["support"]
    assert role["permissions"]["read"]["orders"].endswith("read:orders @ policy/main.yaml:7")
    assert role["denied_servers"]["danger"].endswith(
        "denied_tools[1] danger.* @ policy/main.yaml:9"
    )
    assert role["reach"].keys() == {"orders", "tickets", "kb", "files", "every"}


def test_schema_fragments_are_handed_to_the_inventory():
    text = "version: 1\ntools:\n  a.b:\n    arguments:\n      x: {schema: {type: integer}}\n"
    assert policy_of(text).schemas == {"a.b": {"x": {"type": "integer"}}}
