"""If these fail, a wrong configuration is accepted, or its error does not say where."""

from pathlib import Path

import pytest

from portcullis.config import load
from portcullis.core.errors import Problem

GOOD = """\
trust_domain: example.test
models:
  gpt: {shape: openai, url: "https://models.example", credential: "file:secrets/key"}
mcp:
  clock:
    command: [mcp-server-time]
    cwd: work
    env: {TOKEN: "file:secrets/token", PLAIN: value}
"""


def loaded(tmp_path, text):
    path = tmp_path / "portcullis.yaml"
    path.write_text(text)
    return load(path)


def test_relative_paths_are_relative_to_the_file(tmp_path):
    config = loaded(tmp_path, GOOD)
    assert config.state == tmp_path / "portcullis-state"
    assert config.policy == tmp_path / "policy"
    assert config.models["gpt"].credential == f"file:{tmp_path}/secrets/key"
    assert config.mcp["clock"].cwd == tmp_path / "work"
    assert config.mcp["clock"].env == {
        "TOKEN": f"file:{tmp_path}/secrets/token",
        "PLAIN": "value",
    }


def test_a_gate_that_is_started_elsewhere_reads_the_same_rules(tmp_path):
    inspection = loaded(
        tmp_path,
        "trust_domain: example.test\ninspection:\n  packs: [packs/own.yaml, /abs.yaml]\n"
        "  dictionaries: {CUSTOMER: names.txt}\n  onnx: {model: m.onnx, tokenizer: t.json}\n",
    ).inspection
    assert inspection.packs == (tmp_path / "packs/own.yaml", Path("/abs.yaml"))
    assert inspection.dictionaries == {"CUSTOMER": tmp_path / "names.txt"}
    assert inspection.onnx.model == tmp_path / "m.onnx"
    assert inspection.onnx.tokenizer == tmp_path / "t.json"


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("{}", "1", "trust_domain"),
        ("trust_domain: example.test\nstate_dir: x", "2", "state_dir"),
        ("trust_domain: example.test\nlisten:\n  gate: 0.0.0.0:80", "3", "listen.gate"),
        ("trust_domain: example.test\nlisten:\n  gate: 127.0.0.1:99999", "3", "listen.gate"),
        (
            (
                "trust_domain: example.test\nmodels:\n  gpt:\n    shape: openai\n"
                "    url: http://x\n    credential: sk-given-by-value"
            ),
            "6",
            "models.gpt.credential",
        ),
        (
            "trust_domain: example.test\nmcp:\n  a:\n    url: http://x\n    command: [y]",
            "3",
            "mcp.a",
        ),
        ("trust_domain: example.test\nmcp:\n  a: {}", "3", "mcp.a"),
        ("trust_domain: example.test\nmcp:\n  A.b: {url: 'http://x'}", "3", "mcp.A.b"),
        ("trust_domain: example.test\nlimits:\n  body_bytes: many", "3", "limits.body_bytes"),
        ("trust_domain: Example!", "1", "trust_domain"),
        ("trust_domain: a\nstate: [x\npolicy: y", "3", "not YAML"),
        ("trust_domain: a\nmcp:\n  a: {url: 'http://'}", "3", "mcp.a.url"),
        ("trust_domain: a\nmcp:\n  a: {url: 'http://h', mounts: [/srv:ro]}", "3", "mcp.a"),
        (
            "trust_domain: a\nmcp:\n  a: {command: [x], mounts: [/srv:rx]}",
            "3",
            "mcp.a.mounts.0: expected DIR:ro",
        ),
        ("trust_domain: a\nmcp:\n  a: {command: [x], cwd: .}", "1", "sandbox: mcp.a: "),
        (
            "trust_domain: a\nmcp:\n  a: {command: [x], mounts: [portcullis-state/keys]}",
            "1",
            "sandbox: mcp.a: ",
        ),
        (
            "trust_domain: a\nmcp:\n  a: {command: [x], sandbox: lax}",
            "1",
            "sandbox: mcp.a names the profile lax",
        ),
        ("trust_domain: a\ntools:\n  a: {}", "3", "tools.a: give commands"),
        (
            "trust_domain: a\nguard: {a: {}}\ntools: {a: {code: {}}}",
            "2",
            "guard: a is also the name",
        ),
        ("trust_domain: a\nmcp: {a: {command: [x], sandbox: none, mounts: [/a]}}", "2", "mcp.a"),
        ("trust_domain: a\nmcp:\n  a: {url: 'http://h:99999'}", "3", "mcp.a.url"),
        ("trust_domain: a\nmcp:\n  a: {url: 'http://u:sk-given-by-value@h'}", "3", "mcp.a.url"),
        (
            "trust_domain: a\nmodels:\n  a: {shape: openai, url: 'http://h/v1/'}",
            "3",
            "models.a.url: the url ends before /v1",
        ),
    ],
)
def test_a_fault_names_its_line_and_key(tmp_path, text, line, key):
    with pytest.raises(Problem) as caught:
        loaded(tmp_path, text)
    assert caught.value.code == "PC7001"
    assert f"portcullis.yaml:{line}: {key}" in caught.value.detail
    assert "sk-given-by-value" not in caught.value.detail


@pytest.mark.parametrize("text", ["", "[]", "just text", "a: [", "\tx: 1", "trust_domain: &a [*a]"])
def test_what_is_no_configuration_is_refused(tmp_path, text):
    with pytest.raises(Problem) as caught:
        loaded(tmp_path, text)
    assert caught.value.code == "PC7001"


def test_a_key_that_stands_twice_is_refused(tmp_path):
    with pytest.raises(Problem) as caught:
        loaded(tmp_path, "trust_domain: example.test\ntrust_domain: other.test\n")
    assert "portcullis.yaml:2" in caught.value.detail


def test_a_file_that_is_not_there_says_what_to_do(tmp_path):
    with pytest.raises(Problem) as caught:
        load(tmp_path / "portcullis.yaml")
    assert "portcullis init" in caught.value.hint
