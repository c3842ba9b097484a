"""If these fail, a destination means one thing to policy and another to what connects."""

import dns.message
import pytest

from portcullis.core.egress import Destination
from portcullis.core.errors import Problem
from portcullis.wire import dns as names
from portcullis.wire import egress, egress_body


@pytest.mark.parametrize(
    "text",
    [
        *(
            "1.2.3.4:80",
            "0x7f.1:80",
            "2130706433:80",
            "127.1:80",
            "1.2.3.4.:80",
            "[::1]:80",
            "::1:80",
        ),
        *("a.0x1:80", "a.1:80", "a:0", "a:65536", "a:", ":80", "a", "a@b:80", "a/b:80", "a b:80"),
        *("ex%61mple:80", "a..b:80", "-a.b:80", "a-.b:80", "\u00e9.example:80", f"{'a' * 64}.b:80"),
        f"{'a.' * 127}aa:80",
    ],
    ids=lambda text: ascii(text)[:24],
)
def test_only_names_are_destinations(text):
    with pytest.raises(Problem) as refused:
        egress.authority(text)
    assert refused.value.code == "PC5050"


def test_a_name_has_one_form():
    wanted = Destination(host="api.example.com", port=443)
    assert egress.authority("API.Example.COM.:443") == wanted
    assert egress.authority("api.example.com", 443) == wanted
    assert str(wanted) == "api.example.com:443"


def test_an_absolute_target_says_where_and_what():
    where, target = egress.absolute("HTTP://Shop.example:81/a?b=c")
    assert (str(where), target.path, target.query) == ("shop.example:81", "/a", "b=c")
    assert str(egress.absolute("http://shop.example")[1]) == "/"
    for bad in ("http://shop.example?x", "https://shop.example/", "http://u@shop.example/"):
        with pytest.raises(Problem):
            egress.absolute(bad)


@pytest.mark.parametrize(
    "path",
    [
        "/a/../b",
        "/a/%2e%2e/b",
        "/a/.%2E/b",
        "/a%2fb",
        "/a\\b",
        "/a%5cb",
        "/a//b",
        "/a;x/b",
        "/%00",
        "/a/%252e%252E/b",
        "/a/%c0%ae/b",
    ],
)
def test_a_path_that_can_be_read_in_two_ways_is_none_for_policy(path):
    assert egress.origin(path).plain == ""
    assert egress.origin("/a/b%20c").plain == "/a/b%20c"


def test_hop_by_hop_headers_stay_here():
    sent = [("connection", "X-Mine"), ("x-mine", "1"), ("te", "trailers"), ("accept", "*/*")]
    assert egress.passing([*sent, ("host", "a")], ("host",)) == [["accept", "*/*"]]


def test_one_host_header_names_the_destination():
    where = Destination(host="a.example", port=443)
    egress.same_host([("host", "A.example")], where, 443)
    egress.same_host([("host", "a.example:443")], where, 80)
    for headers in ([], [("host", "a.example"), ("host", "a.example")], [("host", "b.example")]):
        with pytest.raises(Problem, match="Host header"):
            egress.same_host(headers, where, 443)


@pytest.mark.parametrize("data", [b"plain", "h\u00e9".encode(), bytes(range(256)), b""], ids=len)
def test_a_body_goes_on_as_it_came(data):
    assert egress_body.bytes_of(egress_body.told(data, "text/plain")) == data


def test_a_body_that_is_not_what_its_coding_says_is_refused():
    for coding, data in (("br", b"x"), ("gzip", b"x"), ("gzip, gzip", b"x")):
        with pytest.raises(Problem) as refused:
            egress_body.plain(data, coding, 100)
        assert refused.value.code == "PC5058"


def asked(name="a.example", kind="A", **more):
    message = dns.message.make_query(name, kind)
    for key, value in more.items():
        setattr(message, key, value)
    return message.to_wire()


def test_a_dns_answer_has_the_addresses_of_its_type():
    found = dns.message.from_wire(
        names.answered(names.question(asked()), ["192.0.2.1", "2001:db8::1"])
    )
    assert [str(one) for one in found.answer[0]] == ["192.0.2.1"]
    found = dns.message.from_wire(
        names.answered(names.question(asked(kind="HTTPS")), ["192.0.2.1"])
    )
    assert found.answer == []


@pytest.mark.parametrize(
    "data", [b"", b"abc", bytes(12), asked()[:-1], asked() + b"x", asked(flags=0x8000)], ids=len
)
def test_what_is_no_question_is_refused(data):
    with pytest.raises(Problem) as refused:
        names.question(data)
    assert refused.value.code == "PC5060"
