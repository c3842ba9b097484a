"""What somebody sees who has just installed it: a version, and files that say what is true."""

import gc
import sys
from importlib import resources

import pytest

from policies import context, pdp_of
from portcullis import __version__, cli
from portcullis.config import load
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
