"""What an agent finds. If these fail, clients do not find the gate."""

import json

from portcullis.execution.launch.plan import Plan


def test_every_server_has_a_variable_and_a_place_in_the_file():
    plan = Plan(servers=("kb", "order-desk"), path="/usr/bin")
    found = plan.variables()
    assert found["PORTCULLIS_MCP_ORDER_DESK_URL"] == "http://127.0.0.1:8700/mcp/order-desk"
    servers = json.loads(plan.document())["mcpServers"]
    assert servers["kb"] == {"type": "http", "url": "http://127.0.0.1:8700/mcp/kb"}
    assert set(servers) == {"kb", "order-desk"}


def test_there_is_a_proxy_only_where_there_is_a_way_out():
    bare = Plan(path="/usr/bin")
    assert not [name for name in bare.variables() if "proxy" in name.lower()]
    assert "8701" not in " ".join(bare.argv(("agent",)))
    out = Plan(path="/usr/bin", egress=True, authority=True)
    assert out.variables()["https_proxy"] == out.variables()["HTTPS_PROXY"]
    assert out.variables()["SSL_CERT_FILE"] != out.variables()["NODE_EXTRA_CA_CERTS"]
    assert "8701=/run/portcullis/egress.sock" in out.argv(("agent",))


def test_the_caller_has_the_last_word_and_the_command_is_as_it_was():
    plan = Plan(path="/usr/bin", environ={"LANG": "de", "PORTCULLIS_URL": "http://x"})
    assert plan.variables()["LANG"] == "de"
    assert plan.argv(("a", "--", "--terminal"))[-4:] == ("--", "a", "--", "--terminal")
    assert "--terminal" not in plan.argv(("a",))
