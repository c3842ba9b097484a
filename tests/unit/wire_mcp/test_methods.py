"""If these fail, the gate misreads what an MCP message asks for, or forwards the unknown."""

import json
from pathlib import Path

import pytest
from mcp_types import methods as sdk
from mcp_types import version as sdk_versions

from portcullis.core.errors import Problem
from portcullis.wire import jsonrpc
from portcullis.wire.mcp import (
    CLIENT_NOTIFICATIONS,
    CLIENT_REQUESTS,
    LEGACY_VERSIONS,
    MODERN_VERSIONS,
    SERVER_NOTIFICATIONS,
    SERVER_REQUESTS,
    Era,
    envelope_version,
    interpret,
    unsupported,
    without_nulls,
)

GOLDEN = json.loads(
    (Path(__file__).parents[2] / "golden" / "mcp" / "requests.json").read_text(encoding="utf-8")
)
VERSION = {Era.MODERN: "2026-07-28", Era.LEGACY: "2025-11-25"}


def ids(vectors):
    return [f"{v['era']}-{v['message']['method']}" for v in vectors]


@pytest.mark.parametrize("vector", GOLDEN["asked"], ids=ids(GOLDEN["asked"]))
def test_genuine_request_is_read_as_what_it_asks_for(vector):
    era = Era(vector["era"])
    message = jsonrpc.parse(vector["message"])
    sdk.validate_client_request(message.method, VERSION[era], message.params or None)
    asked = interpret(CLIENT_REQUESTS[era], message.method, message.params)
    assert {
        "action": asked.action.value,
        "name": asked.name,
        "arguments": asked.arguments,
    } == vector["asked"]


@pytest.mark.parametrize("vector", GOLDEN["refused"], ids=ids(GOLDEN["refused"]))
def test_what_the_gate_does_not_know_is_refused_with_its_code(vector):
    message = jsonrpc.parse(vector["message"])
    with pytest.raises(Problem) as caught:
        interpret(CLIENT_REQUESTS[Era(vector["era"])], message.method, message.params)
    assert caught.value.code == vector["code"]


def test_a_completion_cannot_name_one_thing_to_the_gate_and_another_to_the_server():
    ref = {"type": "ref/prompt", "name": "summarise", "uri": "file:///srv/private"}
    asked = {"ref": ref, "argument": {"name": "a", "value": ""}}
    with pytest.raises(Problem) as caught:
        interpret(CLIENT_REQUESTS[Era.MODERN], "completion/complete", asked)
    assert caught.value.code == "PC1021"


@pytest.mark.parametrize("era", Era)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (CLIENT_REQUESTS, sdk.CLIENT_REQUESTS),
        (CLIENT_NOTIFICATIONS, sdk.CLIENT_NOTIFICATIONS),
        (SERVER_NOTIFICATIONS, sdk.SERVER_NOTIFICATIONS),
    ],
)
def test_no_method_of_the_specification_is_missing_or_invented(era, ours, theirs):
    methods = {method for method, version in theirs if version == VERSION[era]}
    assert set(ours[era]) == methods


def test_no_request_of_servers_is_missing_or_invented():
    assert set(SERVER_REQUESTS) == {method for method, _ in sdk.SERVER_REQUESTS}


def test_versions_are_those_of_the_official_sdk():
    assert sdk_versions.MODERN_PROTOCOL_VERSIONS == MODERN_VERSIONS
    assert sdk_versions.HANDSHAKE_PROTOCOL_VERSIONS == LEGACY_VERSIONS


@pytest.mark.parametrize(
    "meta",
    [
        None,
        [],
        {},
        {"io.modelcontextprotocol/protocolVersion": "2026-07-28"},
        {"io.modelcontextprotocol/clientCapabilities": {}},
        {
            "io.modelcontextprotocol/protocolVersion": 2026,
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    ],
)
def test_incomplete_envelope_is_refused(meta):
    with pytest.raises(Problem) as caught:
        envelope_version({"_meta": meta})
    assert caught.value.code == "PC1020"


def test_refused_version_names_those_spoken():
    error = jsonrpc.error_message(1, unsupported("x"))["error"]
    assert error["code"] == -32022
    assert error["data"]["supported"] == [*MODERN_VERSIONS, *LEGACY_VERSIONS]
    assert error["data"]["code"] == "PC1033"


def test_null_parameters_count_as_absent():
    assert without_nulls({"name": "t", "arguments": None}) == {"name": "t"}
