"""If these fail, egress connects within the house: to the gate, the network or the cloud's keys."""

import socket
import ssl
from ipaddress import ip_network

import pytest

from portcullis.core.errors import Problem
from portcullis.execution.egress.addresses import Reachable
from portcullis.execution.egress.dial import Dialer

pytestmark = pytest.mark.anyio

INNER = (
    *("127.0.0.1", "127.9.9.9", "0.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
    *("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1"),
    *("192.0.2.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1"),
    *("fec0::1", "ff02::1", "::ffff:8.8.8.8", "::8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::a00:1"),
    *("64:ff9b:1::808:808", "2002:808:808::1", "2001::1", "2001:db8::1", "fd00:ec2::254"),
)
OUTER = ("8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808")


@pytest.mark.parametrize("address", INNER)
async def test_an_inner_address_is_not_reached(address):
    assert not Reachable({})("a.example", address)


@pytest.mark.parametrize("address", OUTER)
async def test_a_public_address_is_reached(address):
    assert Reachable({})("a.example", address)


async def test_an_exception_is_for_its_host_and_network_and_never_for_metadata():
    everything = [ip_network("0.0.0.0/0"), ip_network("::/0")]
    reachable = Reachable({"*.corp.example": [ip_network("10.0.0.0/8")], "all.example": everything})
    assert reachable("git.corp.example", "10.1.2.3")
    assert not reachable("git.corp.example", "192.168.1.1")
    assert not reachable("corp.example.evil.example", "10.1.2.3")
    assert not reachable("other.example", "10.1.2.3")
    assert reachable("all.example", "127.0.0.1")
    for address in (
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "fd00:ec2::254",
        "fe80::1",
    ):
        assert not reachable("all.example", address)


def dialer(*, own=(), **fixed):
    return Dialer(
        Reachable({"in.example": [ip_network("127.0.0.0/8")]}),
        fixed={name.replace("_", "."): found for name, found in fixed.items()},
        own=lambda: own,
        tls=ssl.create_default_context,
        seconds=2,
    )


async def test_one_inner_address_among_others_refuses_the_host():
    with pytest.raises(Problem) as refused:
        await dialer(a_example=("8.8.8.8", "10.0.0.1")).addresses("a.example", 443)
    assert refused.value.code == "PC5052"


async def test_the_gate_itself_is_never_reached_whatever_is_excepted():
    way = dialer(own=(7301,), in_example=("127.0.0.2",))
    assert await way.addresses("in.example", 7300) == ("127.0.0.2",)
    with pytest.raises(Problem, match="the gate itself"):
        await way.addresses("in.example", 7301)


async def test_the_connection_goes_to_the_address_that_was_judged(monkeypatch):
    answers = iter([["8.8.8.8"], ["127.0.0.1"]])

    def getaddrinfo(host, *_, **__):
        assert host == "a.example"
        return [(2, 1, 6, "", (one, 0)) for one in next(answers)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    way = dialer()
    assert await way.addresses("a.example", 443) == ("8.8.8.8",)
    assert await way.addresses("a.example", 443) == ("8.8.8.8",), "it is not asked again at once"


async def test_a_name_without_an_address_is_said_to_have_none(monkeypatch):
    def getaddrinfo(*_, **__):
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(Problem) as refused:
        await dialer().addresses("a.example", 443)
    assert refused.value.code == "PC5051"


async def test_a_host_where_nobody_listens_is_unreachable():
    with pytest.raises(Problem) as refused:
        await dialer().dial("in.example", 1, ("127.0.0.1",), tls=False)
    assert refused.value.code == "PC5001"
