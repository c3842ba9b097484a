"""What somebody sees who has just installed it: a version, and files that say what is true."""

import gc
import re
import sys
from importlib import resources

import pytest
from typer.testing import CliRunner

from policies import context, pdp_of
from portcullis import __version__, cli
from portcullis.cli import operator
from portcullis.config import load
from portcullis.core.errors import Problem
from portcullis.inspection import packs
from portcullis.policy.inspection import DEFAULTS


@pytest.fixture
def said():
    """A template, with what stands in its comment about inspection said."""

    def read(name):
        place = resources.files("portcullis.cli").joinpath("templates").joinpath(name)
        before, found, after = place.read_text(encoding="utf-8").partition("# inspection:\n")
        assert found
        block, _, rest = after.partition("\n\n")
        spoken = "\n".join(line.removeprefix("# ") for line in block.splitlines())
        return f"{before}inspection:\n{spoken}\n\n{rest}"

    return read


def test_the_version_is_printed_without_a_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["portcullis", "--version"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code, capsys.readouterr().out) == (0, f"{__version__}\n")
    assert gc.isenabled()  # or a gate that runs for a month keeps all its garbage


def test_what_the_first_configuration_says_of_inspection_can_be_said(said, tmp_path):
    file = tmp_path / "portcullis.yaml"
    file.write_text(said("portcullis.yaml"))
    settings = load(file).inspection
    assert settings.packs == (tmp_path / "packs/own.yaml",)
    assert settings.honey
    assert packs.select(packs.builtin(), settings.without)
    assert settings.dictionaries.keys() <= {rule.entity for rule in packs.rules(packs.builtin())}


def test_what_the_first_policy_says_of_inspection_holds_anyway(said):
    assert pdp_of(said("policy/main.yaml")).profile(context("my-agent")) == DEFAULTS


def test_every_section_of_the_first_configuration_is_valid_once_it_is_said(tmp_path):
    text = resources.files("portcullis.cli").joinpath("templates/portcullis.yaml").read_text()
    file = tmp_path / "portcullis.yaml"
    found = []
    for block in text.split("\n\n"):
        lines = block.split("\n")
        names = [at for at, line in enumerate(lines) if re.match(r"# [a-z]+:$", line)]
        if names:
            spoken = [line.removeprefix("# ") for line in lines[names[0] :]]
            file.write_text("trust_domain: example.org\n" + "\n".join(spoken))
            (name,) = load(file).model_fields_set - {"trust_domain", "state", "policy"}
            found.append(name)
    assert found == [
        *("tokens", "tools", "guard", "approvals", "notifications", "console", "inspection"),
        *("audit", "evidence", "limits"),
    ]


def test_where_only_a_demonstration_is_its_configuration_is_named(tmp_path):
    with pytest.raises(Problem) as refused:
        load(tmp_path / "portcullis.yaml")
    assert "-c" not in refused.value.hint
    demonstration = tmp_path / "portcullis-state/demo/portcullis.yaml"
    demonstration.parent.mkdir(parents=True)
    demonstration.touch()
    with pytest.raises(Problem) as refused:
        load(tmp_path / "portcullis.yaml")
    assert f"-c {demonstration}" in refused.value.hint


def test_a_password_that_is_not_there_is_not_called_an_upstreams(monkeypatch):
    monkeypatch.delenv("NO_SUCH_PASSWORD", raising=False)
    words = ["add", "bea", "--owner", "x", "--role", "approver", "--password"]
    refused = CliRunner().invoke(operator.app, [*words, "env:NO_SUCH_PASSWORD"]).exception
    assert (refused.code, refused.detail) == (
        "PC7005",
        "--password: the environment variable NO_SUCH_PASSWORD is not set",
    )
    assert "upstream" not in f"{refused.entry.title} {refused.hint}".lower()
