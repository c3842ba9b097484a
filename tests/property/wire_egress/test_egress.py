"""If these fail, some bytes of an agent's make egress fail instead of refuse."""

import ssl
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcullis.core.errors import Problem
from portcullis.wire import dns, egress
from portcullis.wire.clienthello import ClientHello


def real():
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(into, out, server_hostname="api.example.com")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


HELLO = real()


def tried(work):
    """What it returns, and the code with which it refuses."""
    try:
        return work(), ""
    except Problem as problem:
        return None, problem.code


def collected(data, size):
    """What is found in data that comes in pieces."""
    hello = ClientHello()
    for start in range(0, len(data), size):
        found = hello.feed(data[start : start + size])
        if found is not None:
            return found
    return None


@given(st.binary(max_size=600), st.integers(1, 64))
def test_any_bytes_are_a_client_hello_or_refused(data, size):
    assert tried(lambda: collected(data, size))[1] in {"", "PC5055"}


@given(st.integers(0, len(HELLO) - 1), st.integers(0, 255))
def test_a_changed_client_hello_is_read_or_refused_and_never_grows_a_name(at, byte):
    changed = HELLO[:at] + bytes([byte]) + HELLO[at + 1 :]
    found, code = tried(lambda: ClientHello().feed(changed))
    assert code in {"", "PC5055"}
    assert found is None or not found.name or found.name.encode() in changed.lower()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_question_or_refused(data):
    asked, code = tried(lambda: dns.question(data))
    assert dns.refused(asked) if asked else code == "PC5060"


HOSTS = st.one_of(
    st.text(max_size=40),
    st.from_regex(r"[0-9a-fx.:\[\]]{1,40}", fullmatch=True),
    st.ip_addresses().map(str),
)


@given(HOSTS, st.integers(-1, 70_000))
def test_a_destination_is_a_name_in_one_form_or_refused(host, port):
    found, code = tried(lambda: egress.authority(f"{host}:{port}"))
    if found is None:
        assert code == "PC5050"
        return
    assert egress.authority(str(found)) == found
    with pytest.raises(ValueError, match="does not appear"):
        ip_address(found.host)


@given(st.from_regex(r"/[a-z./%2ef5c\\;]{0,24}", fullmatch=True))
def test_a_path_that_policy_is_asked_about_climbs_nowhere(path):
    plain = egress.origin(path).plain
    assert plain in {"", path}
    assert ".." not in plain.split("/")
