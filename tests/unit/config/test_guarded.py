"""What is the gate's own. If these fail, a tool's box reads keys, or a secret is on no list."""

from types import SimpleNamespace

import pytest

from portcullis.bootstrap.secrets import _configured
from portcullis.config import load
from portcullis.core.errors import Problem

CONFIG = """\
trust_domain: demo.portcullis.example
keys: {{kind: file, path: kept/master.key}}
models:
  openai: {{shape: openai, url: "https://models.example", credential: "file:secrets/model"}}
tools:
  own: {{commands: {{look: {{command: [ls], mounts: ["{mount}"], sandbox: strict}}}}}}
alerts: {{rules: rules/alerts}}
policy: policy
notifications:
  pager: {{kind: pagerduty, routing_key: "env:PAGER"}}
audit:
  exporters:
    - {{name: siem, kind: webhook, url: "https://siem.example/in", secret: "env:SIEM"}}
"""


def loaded(folder, mount):
    (folder / "portcullis.yaml").write_text(CONFIG.format(mount=mount))
    return load(folder / "portcullis.yaml")


@pytest.mark.parametrize("mount", ["kept:ro", "secrets:ro", "secrets/model:ro", ".:ro"])
def test_no_box_of_a_tool_is_shown_a_key_or_a_file_of_secrets(tmp_path, mount):
    for name in ("kept", "secrets", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "secrets/model").touch()
    with pytest.raises(Problem, match=r"tools\.own\.commands\.look") as caught:
        loaded(tmp_path, mount)
    assert caught.value.code == "PC7001"
    assert loaded(tmp_path, "work:rw").tools["own"].commands["look"].mounts


@pytest.mark.parametrize("mount", ["portcullis.yaml", "rules", "rules/alerts", "policy/more"])
def test_no_box_of_a_tool_writes_what_the_gate_goes_by(tmp_path, mount):
    for name in ("rules/alerts", "policy/more"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(Problem, match="would let its box write what the gate goes by") as caught:
        loaded(tmp_path, f"{mount}:rw")
    assert caught.value.code == "PC7001"
    assert loaded(tmp_path, f"{mount}:ro").tools["own"].commands["look"].mounts


def test_what_the_gate_uses_itself_is_on_the_list_of_secrets(tmp_path):
    (tmp_path / "work").mkdir()
    found = _configured(loaded(tmp_path, "work:rw"), SimpleNamespace(hooks={}))
    assert {one.reference.rpartition("/")[2]: one.upstreams for one in found.values()} == {
        "model": ("openai",),
        "env:PAGER": ("notifications.pager",),
        "env:SIEM": ("audit.exporters.siem",),
    }
