import random
import time
from ipaddress import IPv4Address

import pytest

from portcullis.checks.destinations import inside

INSIDE = [
    *(
        "http://127.0.0.1",
        "127.0.0.1:80",
        "http://127.1/",
        "http://127.0.1",
        "http://0/",
        "http://0",
    ),
    *("http://2130706433", "http://0x7f000001", "http://0x7f.0.0.1", "http://0177.0.0.1"),
    *("http://017700000001", "http://0x7f.1", "http://0300.0250.1.1"),
    *("10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200"),
    *("0.0.0.1", "224.0.0.1", "255.255.255.255", "http://2852039166/latest"),
    *("http://[::1]/", "[::]", "::1", "http://[::ffff:10.0.0.1]", "http://[::ffff:7f00:1]"),
    *("http://[::127.0.0.1]", "http://[fe80::1%25eth0]/", "fe80::1%eth0", "fd00:ec2::254"),
    *("http://[64:ff9b::a00:1]/", "http://[2002:7f00:1::]/", "ff02::1"),
    *("localhost", "LOCALHOST.", "http://localhost:3000/x", "a.localhost", "http://db.internal/"),
    *("printer.local", "wiki.corp", "router.lan", "nas.home.arpa", "api.default.svc"),
    *("kubernetes.default.svc.cluster.local", "http://redis:6379/0", "http://metadata/"),
    *("metadata.google.internal", "http://metadata.google.internal."),
    *("127.0.0.1.nip.io", "app.10-0-0-1.sslip.io", "lvh.me", "x.localtest.me", "7f000001.nip.io"),
    *("10.0.0.1.evil.example", "a-192-168-0-1.evil.example"),
    *("http://evil.example@127.0.0.1/", "http://127.0.0.1@evil.example/"),
    *(
        "http://127.0.0.1\\@evil.example/",
        "http:\\\\127.0.0.1/",
        "http:/127.0.0.1",
        "http:127.0.0.1",
    ),
    *("http://127.0.0.1#@evil.example", "http://evil.example#@127.0.0.1", "//127.0.0.1/x"),
    *("http://%31%32%37.0.0.1/", "http://127%2e0%2e0%2e1", "http://127。0。0。1/"),
    *("http://①②⑦.⓪.⓪.①/", "http://127.0.0.1/", "http://ⓛocalhost/", "ht\ttp://127.0\n.0.1"),
    *("https://a.example/?u=http://169.254.169.254/", "https://a.example/?u=http%3A%2F%2F10.0.0.1"),
    *("a.example,127.0.0.1", "gopher://127.0.0.1:6379/_x", "ws://10.0.0.1/"),
]
OUTSIDE = [
    *("https://example.org/a/b?c=d#e", "example.org", "example.org:8443", "8.8.8.8", "1.1.1.1:53"),
    *(
        "https://docs.example.org/guide/10/24?page=3",
        "https://[2606:4700:4700::1111]/",
        "/relative",
    ),
    *(
        "https://internal.example.org/",
        "https://localhost.example.org/",
        "https://my-local.example",
    ),
    *("ec2-52-1-2-3.compute.example", "https://a.example/v1.2.3.4-beta", "mailto:ada@example.org"),
    *("", "?", "#top", "https://", "https://a.example//b//c", "https://example.org/?q=10 24"),
    *("https://172.32.0.1/", "https://192.169.0.1/", "11.0.0.1", "https://corp.example/lan"),
]


@pytest.mark.parametrize("value", INSIDE)
def test_no_way_of_writing_an_inner_address_gets_through(value):
    assert inside(value)


@pytest.mark.parametrize("value", OUTSIDE)
def test_the_outer_world_stays_reachable(value):
    assert not inside(value)


def _forms(address):
    number = int(address)
    a, b, c, d = address.packed
    yield from (str(number), hex(number), f"0{number:o}", f"{a}.{(b << 16) | (c << 8) | d}")
    yield from (f"{a}.{b}.{(c << 8) | d}", f"0{a:o}.{b:#x}.{c}.0{d:o}", f"[::ffff:{address}]")
    yield from (f"[::{address}]", f"[64:ff9b::{address}]", f"{address}.nip.io", f"{address}.")


def test_every_form_of_an_address_is_judged_as_the_address():
    random.seed(1)
    for _ in range(300):
        address = IPv4Address(random.getrandbits(32))
        inner = not address.is_global or address.is_multicast
        for form in _forms(address):
            pointing = form.endswith("nip.io")
            assert inside(f"http://{form}/") is (inner or pointing), form


def test_an_address_behind_endless_user_information_is_found_quickly():
    assert inside(f"http://{'a' * 5000}@127.0.0.1")
    began = time.process_time()
    for value in ("http://", "1.2.3.", "@", "a,", "%25"):
        inside((value * 4096)[:4096])
    assert time.process_time() - began < 1
