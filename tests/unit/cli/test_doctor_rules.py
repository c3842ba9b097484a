"""If this fails, the doctor says that all is well and the gate does not start."""

from __future__ import annotations

from portcullis.cli import doctor
from portcullis.config import load

CONFIG = """trust_domain: test.internal
guard: {shop: {}}
alerts: {rules: watch}
incidents: {playbook: NAME}
"""


def found(folder, playbook):
    """What the doctor says of the rules and the playbooks."""
    (folder / "portcullis.yaml").write_text(CONFIG.replace("NAME", playbook))
    said = {one.what: one for one in doctor._deployment(load(folder / "portcullis.yaml"))}
    return said["alert rules"], said["playbooks"]


def test_the_doctor_says_what_is_wrong_with_rules_and_playbooks(tmp_path):
    rules, books = found(tmp_path, "hostile-agnet")
    assert "No such file" in rules.found
    assert "alerts.rules" in rules.do
    assert "hostile-agnet" in books.found
    (tmp_path / "watch").mkdir()
    rules, books = found(tmp_path, "runaway-cost")
    assert (rules.ok, books.ok) == (True, True)
    (tmp_path / "watch" / "own.yaml").write_text("version: 2\n")
    rules, _ = found(tmp_path, "runaway-cost")
    assert "watch/own.yaml:1" in rules.found
