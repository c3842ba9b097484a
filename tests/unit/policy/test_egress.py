"""If these fail, policy lets agents out further than it says."""

import pytest

from portcullis.core.call import Action, Call, Context, Route
from portcullis.core.errors import Problem
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.verdict import Allow
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.grammar import parse
from portcullis.policy.pdp import RegoPdp, compile_files
from portcullis.policy.source import SourceFile
from portcullis.review.growth import growth

HEAD = "version: 1\nagents: {a: {role: r}}\nroles:\n  r:\n    egress:\n"
RULES = """\
      - host: "*.example.com"
      - host: api.example.com
        ports: [443, 8443]
        terminate: true
        methods: [GET]
        paths: [/v1/*, /health]
        inject: partner
      - host: api.example.com
        terminate: true
        methods: [POST]
        paths: [/v1/orders]
      - host: old.example
        ports: [80]
        plain: true
        methods: [GET]
"""
ENGINE = RegorusEngine()


def fragment(_):
    return None


@pytest.fixture(scope="module")
def pdp():
    return RegoPdp(compile_files((SourceFile("p.yaml", HEAD + RULES),), fragment, ENGINE), ENGINE)


def decided(pdp, way, where, method="", path="", scheme="https"):
    host, _, port = where.partition(":")
    asked = {
        "way": way,
        "scheme": scheme,
        "host": host,
        "port": int(port or 0),
        "method": method,
        "path": path,
    }
    call = Call(
        id="",
        route=Route.EGRESS,
        action=Action.EGRESS,
        server="",
        name=where,
        method=method,
        arguments=asked,
        payload={},
        body=b"",
    )
    agent = Principal(kind=PrincipalKind.AGENT, id="a", credential="", expires_at=1e12)
    context = Context(principal=agent, session=None, source="", trace_id="", received_at=0)
    verdict = pdp.decide(call, context)
    return verdict.egress if isinstance(verdict, Allow) else verdict.code


@pytest.mark.parametrize(
    ("way", "where", "rest", "code"),
    [
        ("dns", "evil.example", (), "PC3016"),
        ("dns", "example.com", (), "PC3016"),
        ("dns", "api.example.com.evil.example", (), "PC3016"),
        ("connect", "xexample.com:443", (), "PC3016"),
        ("connect", "www.example.com:80", (), "PC3017"),
        ("connect", "api.example.com:80", (), "PC3017"),
        ("connect", "old.example:80", (), "PC3018"),
        ("request", "api.example.com:443", ("PUT", "/v1/a"), "PC3018"),
        ("request", "api.example.com:443", ("POST", "/v1/a"), "PC3018"),
        ("request", "api.example.com:443", ("GET", "/v2"), "PC3018"),
        ("request", "api.example.com:443", ("GET", ""), "PC3018"),
        ("request", "api.example.com:443", ("GET", "/v1/a", "http"), "PC3018"),
        ("request", "old.example:80", ("POST", "/", "http"), "PC3018"),
        ("other", "www.example.com:443", (), "PC3018"),
    ],
)
def test_what_no_rule_grants_is_refused(pdp, way, where, rest, code):
    assert decided(pdp, way, where, *rest) == code


def test_what_a_rule_grants_goes_on_its_terms(pdp):
    assert not decided(pdp, "connect", "www.example.com:443").terminate
    assert decided(pdp, "connect", "api.example.com:8443").terminate
    given = decided(pdp, "request", "api.example.com:443", "GET", "/v1/a")
    assert (given.terminate, given.inject) == (True, "partner")
    given = decided(pdp, "request", "api.example.com:443", "POST", "/v1/orders")
    assert given.inject == ""
    assert decided(pdp, "request", "old.example:80", "GET", "/", "http").plain
    assert pdp.terminated("a") == ("api.example.com",)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{ports: [443]}", "has no host"),
        ("{host: 10.0.0.1}", "not of the form"),
        ("{host: 'a.example:443'}", "not of the form"),
        ("{host: '*'}", "not of the form"),
        ("{host: 'a.*.example'}", "not of the form"),
        ("{host: A.example}", "not of the form"),
        ("{host: a.example, ports: [0]}", "must be a port"),
        ("{host: a.example, methods: [GET]}", "nothing is read"),
        ("{host: a.example, paths: [/x]}", "nothing is read"),
        ("{host: a.example, inject: key}", "needs terminate"),
        ("{host: a.example, terminate: true, plain: true, inject: key}", "needs terminate"),
        ("{host: a.example, terminate: maybe}", "must be true or false"),
        ("{host: a.example, terminate: true, methods: [get]}", "not of the form"),
        ("{host: a.example, url: x}", "unknown key"),
        ("{host: a.example}\n      - {host: a.example, terminate: true}", "differ"),
    ],
)
def test_a_rule_that_says_nothing_or_too_much_is_a_fault(rule, said):
    with pytest.raises(Problem, match=said) as refused:
        parse((SourceFile("p.yaml", f"{HEAD}      - {rule}\n"),), fragment)
    assert refused.value.code == "PC7002"


def changed(old, new):
    files = [
        (SourceFile("p.yaml", HEAD + "".join(f"      - {one}\n" for one in rules)),)
        for rules in (old, new)
    ]
    return growth(*(parse(one, fragment) for one in files))


def test_a_change_that_lets_more_out_is_told():
    one, wide = "{host: api.a.example, terminate: true, methods: [GET]}", "{host: '*.a.example'}"
    assert changed([one], [one]) == ()
    assert changed([one], [one, wide])[0].others == ("egress *.a.example:443",)
    assert changed([one, wide], [wide])[0].weaker == (
        "egress to api.a.example goes by *.a.example",
    )
    more = "{host: api.a.example, terminate: true, methods: [GET, POST]}"
    assert changed([one], [more])[0].others == ("egress api.a.example:443 GET/POST read",)
