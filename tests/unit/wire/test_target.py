"""If these fail, a proof made for another server is taken for one made for us, or an honest one
is not."""

import pytest

from portcullis.wire.target import origin, target

NAMES = frozenset({"localhost", "gate.test", "127.0.0.1", "::1"})


def scope(**fields):
    return {
        "scheme": "https",
        "server": ("10.0.0.1", 7302),
        "path": "/mcp/orders",
        "raw_path": b"/mcp/orders",
    } | fields


@pytest.mark.parametrize(
    "host", ["gate.test:7302", "GATE.test:7302", "localhost:7302", "[::1]:7302"]
)
def test_a_name_of_ours_with_our_port_is_what_the_client_calls_us(host):
    assert origin(scope(), host, NAMES) == f"https://{host.lower()}"


@pytest.mark.parametrize(
    "host",
    [
        "evil.test:7302",
        "gate.test",
        "gate.test:443",
        "gate.test:99999",
        "gate.test:7302:7302",
        "u@gate.test:7302",
        'gate.test:7302"',
        "gate.test:7302, evil.test",
        "gate.test:\u0667",
        "",
    ],
)
def test_any_other_host_header_is_not_believed(host):
    assert origin(scope(), host, NAMES) == "https://10.0.0.1:7302"


def test_the_default_port_may_be_left_out():
    assert origin(scope(server=("10.0.0.1", 443)), "gate.test", NAMES) == "https://gate.test"


def test_an_address_of_version_six_is_in_brackets():
    assert origin(scope(server=("::1", 7302)), "", NAMES) == "https://[::1]:7302"


def test_the_path_is_as_it_was_sent_without_its_query():
    sent = scope(raw_path=b"/mcp/%6frders?x=1")
    assert target(sent, "gate.test:7302", NAMES) == "https://gate.test:7302/mcp/%6frders"
    sent.pop("raw_path")
    assert target(sent, "gate.test:7302", NAMES) == "https://gate.test:7302/mcp/orders"
