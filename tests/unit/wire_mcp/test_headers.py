"""If these fail, an intermediary routes on something that the gate did not decide on."""

import json
from pathlib import Path

import pytest
from mcp.shared import inbound as sdk

from portcullis.core.errors import Problem
from portcullis.wire.mcp_headers import compute, mirrored, verify, verify_parameters

VERSION = "2026-07-28"
GOLDEN = json.loads(
    (Path(__file__).parents[2] / "golden" / "mcp" / "headers.json").read_text(encoding="utf-8")
)
SCHEMA = GOLDEN[1]["schema"]


@pytest.mark.parametrize("vector", GOLDEN)
def test_headers_are_those_that_the_official_client_sends_and_server_accepts(vector):
    method, params, schema = vector["method"], vector["params"], vector["schema"]
    headers = compute(VERSION, method, params, schema)
    assert headers == vector["headers"]
    verify(headers, VERSION, method, params)
    if schema is not None:
        arguments = params.get("arguments", {})
        verify_parameters(headers, arguments, schema)
        assert sdk.validate_mcp_param_headers(schema, arguments, headers) is None
        valid = sdk.find_invalid_x_mcp_header(schema) is None
        emitted = sdk.mcp_param_headers(sdk.x_mcp_header_map(schema), arguments) if valid else {}
        sent = {name: value for name, value in headers.items() if "param" in name}
        assert sent == {name.lower(): value for name, value in emitted.items()}
    meta = {
        sdk.PROTOCOL_VERSION_META_KEY: VERSION,
        sdk.CLIENT_CAPABILITIES_META_KEY: {},
    }
    body = {"method": method, "params": params | {"_meta": meta}}
    assert isinstance(sdk.classify_inbound_request(body, headers=headers), sdk.InboundModernRoute)


@pytest.mark.parametrize(
    "change",
    [
        {"mcp-method": "tools/list"},
        {"mcp-method": "TOOLS/CALL"},
        {"mcp-method": None},
        {"mcp-name": "other"},
        {"mcp-name": "T"},
        {"mcp-name": None},
        {"mcp-name": "=?base64?dB==?="},
        {"mcp-name": "=?base64?/w==?="},
        {"mcp-protocol-version": "2025-11-25"},
        {"mcp-protocol-version": None},
    ],
)
def test_header_that_differs_is_refused(change):
    params = {"name": "t"}
    headers = compute(VERSION, "tools/call", params, None) | change
    headers = {name: value for name, value in headers.items() if value is not None}
    with pytest.raises(Problem) as caught:
        verify(headers, VERSION, "tools/call", params)
    assert caught.value.code == "PC1032"


def test_wrapped_name_that_is_the_same_is_accepted():
    verify(
        {
            "mcp-protocol-version": VERSION,
            "mcp-method": "tools/call",
            "mcp-name": "=?base64?dA==?=",
        },
        VERSION,
        "tools/call",
        {"name": "t"},
    )


@pytest.mark.parametrize(
    ("headers", "arguments"),
    [
        ({}, {"region": "eu"}),
        ({"mcp-param-region": "eu"}, {}),
        ({"mcp-param-region": "eu"}, {"region": None}),
        ({"mcp-param-region": "eu"}, {"region": ["eu"]}),
        ({"mcp-param-region": "EU"}, {"region": "eu"}),
        ({"mcp-param-region": "=?base64?!?="}, {"region": "eu"}),
        ({"mcp-param-count": "5.5"}, {"n": 5}),
        ({"mcp-param-count": "5e0"}, {"n": 5}),
        ({"mcp-param-count": "9007199254740993"}, {"n": 9007199254740992}),
        ({"mcp-param-count": "1"}, {"n": True}),
        ({"mcp-param-dry-run": "True"}, {"o": {"dry": True}}),
        ({"mcp-param-dry-run": "true"}, {"o": "dry"}),
    ],
)
def test_parameter_header_that_disagrees_is_refused_here_as_by_the_official_server(
    headers, arguments
):
    with pytest.raises(Problem) as caught:
        verify_parameters(headers, arguments, SCHEMA)
    assert caught.value.code == "PC1032"
    assert sdk.validate_mcp_param_headers(SCHEMA, arguments, headers) is not None


@pytest.mark.parametrize("header", ["5", "5.0", "5.00"])
@pytest.mark.parametrize("value", [5, 5.0])
def test_integers_compare_as_numbers(header, value):
    verify_parameters({"mcp-param-count": header}, {"n": value}, SCHEMA)
    assert sdk.validate_mcp_param_headers(SCHEMA, {"n": value}, {"mcp-param-count": header}) is None


@pytest.mark.parametrize(
    "property_",
    [
        {"type": "number", "x-mcp-header": "A"},
        {"type": ["string"], "x-mcp-header": "A"},
        {"x-mcp-header": "A"},
        {"type": "string", "x-mcp-header": ""},
        {"type": "string", "x-mcp-header": "A B"},
        {"type": "string", "x-mcp-header": "A\r\nB: c"},
        {"type": "string", "x-mcp-header": 5},
        {"type": "array", "items": {"type": "string", "x-mcp-header": "A"}},
    ],
)
def test_invalid_annotation_mirrors_nothing(property_):
    schema = {"properties": {"ok": {"type": "string", "x-mcp-header": "Ok"}, "a": property_}}
    assert mirrored(schema) == {}
    assert sdk.find_invalid_x_mcp_header(schema) is not None
