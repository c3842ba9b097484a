import json

from policies import SUPPORT, policy_of


def test_the_generated_rego_says_where_each_line_comes_from():
    modules = dict(policy_of(SUPPORT).bundle.modules)
    text = modules["tools/orders.search.rego"]
    assert 'package portcullis.tools["orders.search"]' in text
    assert "# policy/main.yaml:22 customer_id: equals\n" in text
    assert (
        'held contains "customer_id.equals" if bounds.scoped(input.arguments["customer_id"], '
        'input.session["subject"]["customer_id"])\n' in text
    )


def test_values_cannot_break_out_of_the_generated_rego():
    nasty = '"] } allow := true # \\" ` \u2028'
    text = (
        "version: 1\ntools:\n  a.b:\n    arguments:\n"
        f"      {json.dumps(nasty)}: {{enum: [{json.dumps(nasty)}]}}\n"
    )
    bundle = policy_of(text).bundle
    module = dict(bundle.modules)["tools/a.b.rego"]
    assert module.count("held contains") == 1
    assert "\nallow" not in module


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
