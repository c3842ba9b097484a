"""If these fail, a credential is put where nobody wanted it, and only a call shows it."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from portcullis.config import Config, load
from portcullis.config.secrets import Injection, Known, OpenBao, filled

WRONG = {
    "no place": {"secret": "env:X"},
    "two places": {"header": "X", "query": "x", "secret": "env:X"},
    "no secret": {"header": "X"},
    "two secrets": {"header": "X", "secret": "env:X", "secrets": {"a": "env:X"}},
    "a value": {"header": "X", "secret": "sk-1234567890"},
    "no key": {"header": "X", "secret": "openbao:kv/app"},
    "framing": {"header": "Content-Length", "secret": "env:X"},
    "a header of two": {"header": "X: y\r\nZ", "secret": "env:X"},
    "a template without it": {"header": "X", "secret": "env:X", "template": "Bearer"},
    "a template with more": {"header": "X", "secret": "env:X", "template": "{secret}{other}"},
    "one left out": {"env": "X", "secrets": {"a": "env:A", "b": "env:B"}, "template": "{a}"},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_injection_that_cannot_be_meant_is_refused(wrong):
    with pytest.raises(ValidationError):
        Injection.model_validate(WRONG[wrong])


def test_a_template_is_filled_and_escaped_where_it_says_so():
    template = "postgresql://{user|url}:{password|url}@h/{user}"
    values = {"user": "a{password}b", "password": "p@:/w%"}
    assert filled(template, values) == "postgresql://a%7Bpassword%7Db:p%40%3A%2Fw%25@h/a{password}b"


@pytest.mark.parametrize(
    "upstreams",
    [
        {"models": {"m": {"shape": "openai", "url": "https://h.example"}}},
        {"mcp": {"m": {"url": "https://h.example"}}},
    ],
    ids=["model", "mcp"],
)
def test_an_environment_is_for_processes_alone(upstreams):
    kind, found = next(iter(upstreams.items()))
    found = {"m": found["m"] | {"inject": [{"env": "X", "secret": "env:X"}]}}
    with pytest.raises(ValidationError, match="inject"):
        Config.model_validate({"trust_domain": "a.example", kind: found})


def test_what_nobody_may_use_is_not_rotated_and_named_once():
    with pytest.raises(ValidationError):
        Known(reference="env:X", honeytoken=True, rotate_every_hours=1)
    with pytest.raises(ValidationError, match="once"):
        Config.model_validate(
            {"trust_domain": "a.example", "secrets": {"known": [{"reference": "env:X"}] * 2}}
        )


def test_a_server_is_asked_over_tls_or_on_this_machine():
    auth = {"kind": "cert", "certificate": "c", "key": "k"}
    with pytest.raises(ValidationError):
        OpenBao.model_validate({"url": "http://bao.example", "auth": auth})
    with pytest.raises(ValidationError, match="https"):
        OpenBao.model_validate({"url": "http://127.0.0.1", "auth": auth})


def test_relative_files_lie_beside_the_configuration(tmp_path):
    (tmp_path / "p.yaml").write_text(
        """
trust_domain: a.example
models:
  m:
    shape: openai
    url: https://h.example
    inject:
      - {header: X-A, secret: "file:a"}
      - {header: X-B, secrets: {b: "file:b"}, template: "{b}"}
secrets:
  known: [{reference: "file:bait", honeytoken: true}]
  openbao: {url: "https://b.example", auth: {kind: token, token: "file:token"}}
"""
    )
    config = load(tmp_path / "p.yaml")
    found = [r for one in config.models["m"].inject for r in one.references.values()]
    assert found == [f"file:{tmp_path}/a", f"file:{tmp_path}/b"]
    assert config.secrets.honeytokens() == (f"file:{tmp_path}/bait",)
    assert config.secrets.openbao.auth.token == f"file:{tmp_path}/token"


def test_a_secret_of_either_server_has_one_name(tmp_path):
    """Else one could be configured as a honeytoken under the one, and sent under the other."""
    path = tmp_path / "portcullis.yaml"
    model = {"shape": "openai", "url": "https://llm.example", "credential": "vault:kv/a#key"}
    known = [{"reference": "vault:kv/a#key", "honeytoken": True}]
    given = {"models": {"one": model}, "secrets": {"known": known}}
    path.write_text(json.dumps({"trust_domain": "a.example"} | given))
    config = load(path)
    assert config.models["one"].credential == "openbao:kv/a#key"
    assert config.secrets.honeytokens() == ("openbao:kv/a#key",)
