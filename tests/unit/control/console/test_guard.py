"""Where a login may lead back to, and what is ours in a request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from portcullis.control.console.guard import Hosts, way_back
from portcullis.core.errors import Problem


def asked(host: bytes, port: int = 7301) -> Request:
    return Request(
        {
            "type": "http",
            "scheme": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "server": ("127.0.0.1", port),
            "headers": [(b"host", host)],
        }
    )


@pytest.mark.parametrize("path", ["/", "/live", "/approvals/01ab?x=1&y=%20", "/agents/shop-1"])
def test_a_page_of_ours_is_gone_back_to(path):
    assert way_back(path) == path


@given(st.text(max_size=40))
def test_nothing_else_is(text):
    back = way_back(text)
    assert back.startswith("/")
    assert not back.startswith(("//", "/\\"))
    assert back.isascii()
    assert back.isprintable()
    assert "\\" not in back


@given(st.sampled_from(["//", "/\\", "/\t/", "\n//", "https://", "/%0d/\r", "/ /"]), st.text())
def test_no_other_host_is(start, rest):
    assert way_back(f"{start}evil.example/{rest}") == "/"


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (b"localhost:7301", "http://localhost:7301"),
        (b"gate.lan:7301", "http://gate.lan:7301"),
        (b"portcullis.example", "https://portcullis.example"),
        (b"Portcullis.Example", "https://portcullis.example"),
    ],
)
def test_our_names_are_known(host, origin):
    hosts = Hosts.of(("localhost", "Gate.lan"), "https://portcullis.example")
    assert hosts.asked(asked(host)) == origin


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"evil.example",
        b"localhost",
        b"localhost:80",
        b"localhost:7301:7301",
        b"portcullis.example:443",
        b"portcullis.example.evil.example",
        b"user@localhost:7301",
        b"localhost:7301/",
        b"127.0.0.2:7301",
    ],
)
def test_no_other_name_is(host):
    hosts = Hosts.of(("localhost",), "https://portcullis.example")
    with pytest.raises(Problem) as refused:
        hosts.asked(asked(host))
    assert refused.value.code == "PC2080"
