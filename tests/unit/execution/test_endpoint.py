"""The configuration's upstreams become endpoints; an address by which a secret leaks does not."""

from __future__ import annotations

import pytest

from portcullis.config import Config
from portcullis.core.errors import Problem
from portcullis.execution.endpoint import API_KEY, BEARER, Addresses, endpoints


def test_models_and_mcp_servers_get_names_that_cannot_clash():
    config = Config.model_validate(
        {
            "trust_domain": "example.test",
            "models": {
                "one": {"shape": "openai", "url": "http://127.0.0.1:1", "credential": "env:A"},
                "two": {"shape": "anthropic", "url": "http://127.0.0.1:2"},
            },
            "mcp": {
                "one": {"url": "http://127.0.0.1:3/mcp", "credential": "file:key"},
                "local": {"command": ["server"]},
            },
        }
    )
    found = endpoints(config)
    assert set(found) == {"one", "two", "mcp:one"}
    assert (found["one"].header, found["one"].credential) == (BEARER, "env:A")
    assert (found["two"].header, found["two"].credential) == (API_KEY, None)
    assert (found["mcp:one"].header, found["mcp:one"].url) == (BEARER, "http://127.0.0.1:3/mcp")


@pytest.mark.parametrize(
    "url",
    [
        "http://user:word@host.example/", "http://user@host.example/", "http://host.example/#part",
        "ftp://host.example/", "http:///path", "http://[::1", "http://host.example:99999/",
        "http://host.example:0/",
    ],
)  # fmt: skip
def test_an_address_with_a_secret_or_without_a_host_is_refused(url):
    with pytest.raises(Problem) as caught:
        Addresses("name", url)
    assert caught.value.code == "PC7001"
    assert "word" not in caught.value.detail


def test_the_empty_path_is_the_base_itself_with_its_query():
    assert Addresses("a", "https://h.example/mcp?x=1").target("") == "/mcp?x=1"
    assert Addresses("a", "http://h.example").target("") == "/"


@pytest.mark.parametrize("base", ["http://h.example/base/", "http://h.example/base"])
def test_a_path_is_put_below_the_base_exactly_as_it_is_written(base):
    assert Addresses("a", base).target("/v1/models/ft:gpt@x") == "/base/v1/models/ft:gpt@x"


def test_nothing_lies_below_a_base_with_a_query():
    with pytest.raises(Problem) as caught:
        Addresses("a", "http://h.example/mcp?x=1").target("/y")
    assert caught.value.code == "PC1010"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h.example/x", ("h.example", 443, True, "h.example")),
        ("http://h.example:8080", ("h.example", 8080, False, "h.example:8080")),
        ("http://[::1]:99/", ("::1", 99, False, "[::1]:99")),
        (
            "https://b\u00fccher.example",
            ("xn--bcher-kva.example", 443, True, "xn--bcher-kva.example"),
        ),
    ],
)
def test_it_says_where_to_connect_and_whom_to_name(url, expected):
    found = Addresses("a", url)
    assert (found.host, found.port, found.tls, found.authority) == expected


def test_how_an_upstream_is_verified_comes_from_its_configuration():
    config = Config.model_validate(
        {
            "trust_domain": "example.test",
            "models": {
                "one": {
                    "shape": "openai",
                    "url": "https://127.0.0.1:1",
                    "tls": {"svid": False, "spiffe_id": "spiffe://other.test/model"},
                },
                "two": {"shape": "openai", "url": "https://127.0.0.1:2"},
            },
            "mcp": {
                "bank": {
                    "url": "https://127.0.0.1:3/mcp",
                    "tls": {"spiffe_id": "spiffe://example.test/agent/bank"},
                }
            },
        }
    )
    found = endpoints(config)
    assert (found["one"].svid, str(found["one"].spiffe_id)) == (False, "spiffe://other.test/model")
    assert (found["two"].svid, found["two"].spiffe_id) == (True, None)
    assert str(found["mcp:bank"].spiffe_id) == "spiffe://example.test/agent/bank"


@pytest.mark.parametrize(
    "upstream",
    [
        {"url": "http://127.0.0.1:1", "tls": {"spiffe_id": "spiffe://example.test/a"}},
        {"url": "https://127.0.0.1:1", "tls": {"spiffe_id": "spiffe://example.test"}},
        {"url": "https://127.0.0.1:1", "tls": {"spiffe_id": "spiffe://example.test/a/../b"}},
        {"command": ["server"], "tls": {"spiffe_id": "spiffe://example.test/a"}},
    ],
)
def test_an_identity_that_could_not_be_verified_is_refused_with_its_upstream(upstream):
    config = Config.model_validate({"trust_domain": "example.test", "mcp": {"bank": upstream}})
    with pytest.raises(Problem) as caught:
        endpoints(config)
    assert caught.value.code == "PC7001"
    assert "bank" in caught.value.detail
