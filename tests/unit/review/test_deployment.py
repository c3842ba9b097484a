"""What of the configuration is evidence, and that no secret is."""

from __future__ import annotations

import secrets

import msgspec
import pytest

from portcullis.config import load
from portcullis.core.inspection_ports import Pin, Sighting
from portcullis.review.deployment import deployment

CONFIG = """
trust_domain: example.org
models:
  gpt: {{shape: openai, url: "https://models.example", credential: "file:{secret}"}}
mcp:
  near: {{url: "http://127.0.0.1:9/mcp"}}
  far: {{url: "http://tools.example/mcp"}}
inspection: {{without: [iban]}}
"""
POLICY = """
version: 1
agents: {a: {role: helper, owner: team}}
roles:
  helper:
    allowed_tools: [far.search]
    models: [gpt-*]
    inspection: {to_tool: {secret: allow}, injection: {tool: allow}, canaries: false}
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy/main.yaml").write_text(POLICY)
    place = tmp_path / "portcullis.yaml"
    place.write_text(CONFIG.format(secret=secrets.token_hex()))
    return place


def test_the_settings_that_matter_are_read_and_no_reference_to_a_secret(config):
    found = deployment(load(config), (), ())
    assert found.plain == ("far",)
    assert (found.servers, found.models) == (("far", "near"), ("gpt",))
    assert found.tokens_bound
    assert found.key_beside_data
    assert found.rules_switched_off == ("iban",)
    assert (found.agents, found.roles, found.granted) == (("a",), ("helper",), ("far.search",))
    assert {"secret:to_tool", "injection:tool", "canaries"} <= set(found.passing)
    assert b"file:" not in msgspec.json.encode(found)


def test_a_key_elsewhere_and_bound_tokens_are_told_apart(config, tmp_path):
    extra = f"keys: {{kind: file, path: {tmp_path}/elsewhere.key}}\ntokens: {{bearer: loopback}}\n"
    config.write_text(config.read_text() + extra)
    found = deployment(load(config), (), ())
    assert not found.key_beside_data
    assert not found.tokens_bound


def test_a_policy_that_does_not_load_is_said_and_nothing_of_it_guessed(config, tmp_path):
    (tmp_path / "policy/main.yaml").write_text("version: 1\nroles: 7\n")
    found = deployment(load(config), (), ())
    assert found.policy_fault == "Policy error"
    assert found.passing == ()


def test_tools_stand_as_the_log_names_them(config):
    def pin(tool, approved_by=""):
        return Pin(
            server="far", tool=tool, digest="d", definition="", pinned_at=0, approved_by=approved_by
        )

    sighting = Sighting(server="far", tool="search", digest="e", definition="", seen_at=60)
    found = deployment(load(config), (pin("search", "vic"), pin("x9q-00")), (sighting,))
    assert found.pinned == {"far.search": True, "far.?": False}
    assert found.changed["far.search"].timestamp() == 60
