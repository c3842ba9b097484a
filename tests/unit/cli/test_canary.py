"""If these fail, a record is planted with a reference that the gate does not know."""

import contextlib
import json

import pytest
from typer.testing import CliRunner

from portcullis.bootstrap import GATE, founded
from portcullis.bootstrap.firewall import canaries_of
from portcullis.cli import canary
from portcullis.config import load
from portcullis.core.errors import Problem


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "portcullis.yaml"
    state = tmp_path / "state"
    file.write_text(f"trust_domain: a.test\nstate: {state}\ninspection: {{honey: [vip-7]}}\n")
    return file


def mint(config, *words):
    done = CliRunner().invoke(canary.app, ["mint", *words, "--config", str(config)])
    if isinstance(done.exception, Problem):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output.strip()


def test_a_minted_canary_is_one_that_the_gate_names_when_it_leaks(config):
    minted = mint(config, "vip-7")
    assert json.loads(mint(config, "vip-7", "--json")) == {"name": "vip-7", "canary": minted}
    with contextlib.ExitStack() as stack:
        found = canaries_of(load(config), founded(stack, load(config), GATE)).find(f"see {minted}")
    assert [leak.place for leak in found] == ["honey record vip-7"]


def test_no_canary_is_made_for_a_record_that_no_leak_could_name(config):
    with pytest.raises(Problem, match="vip-8") as raised:
        mint(config, "vip-8")
    assert raised.value.code == "PC7004"
