"""If this fails, a build goes on although a policy has what it was told to stop for."""

import pytest
from typer.testing import CliRunner

from portcullis.cli.policy import app

OLD = """\
version: 1
agents: {shop-1: {role: shop, owner: sales}}
roles: {shop: {allowed_tools: [kb.read]}}
tools: {kb.read: {risk: read}, kb.drop: {risk: delete}}
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("old", OLD), ("new", OLD.replace("[kb.read]", "[kb.read, kb.drop]"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.yaml").write_text(text)
    return lambda *words: CliRunner().invoke(app, ["review", *words])


def test_it_stops_for_the_findings_and_severities_that_are_named_and_no_others(run):
    against = ("new", "--against", "old")
    assert run(*against, "--fail-on", "widened").exit_code == 5
    assert run(*against, "--fail-on", "ownerless", "--fail-on", "high").exit_code == 5
    assert run(*against, "--fail-on", "ownerless").exit_code == 0
    assert run("new", "--against", "new", "--fail-on", "widened").exit_code == 0
    assert run("old", "--fail-on", "grave").exception.code == "PC7004"
