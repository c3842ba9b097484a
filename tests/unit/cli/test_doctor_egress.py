"""If these fail, nobody is told what is excepted from egress' rule."""

from portcullis.cli.doctor_egress import egress
from portcullis.config import Config
from portcullis.execution.secrets import local_secrets


def findings(environ=None, listen="127.0.0.1:0", **section):
    config = Config(trust_domain="a.example", listen={"egress": listen}, egress=section)
    return {one.what: one for one in egress(config, local_secrets(environ or {}))}


def test_every_exception_is_listed():
    found = findings(
        private={"*.corp.example": ["10.0.0.0/8"]}, resolve={"git.corp.example": ["10.0.0.7"]}
    )
    assert found["egress"].ok
    assert found["egress"].found == (
        "*.corp.example within 10.0.0.0/8; git.corp.example is 10.0.0.7"
    )
    assert findings()["egress"].found == "public addresses only"
    assert findings(listen=None) == {}


def test_what_is_missing_is_said(tmp_path):
    section = {
        "authorities": tmp_path / "none.pem",
        "credentials": {"a": {"credential": "env:KEY"}},
    }
    found = findings(**section)
    assert not found["egress.authorities"].ok
    assert not found["credential egress.a"].ok
    found = findings({"KEY": "value-of-it"}, credentials=section["credentials"])
    assert found["credential egress.a"].found == "env:KEY"
