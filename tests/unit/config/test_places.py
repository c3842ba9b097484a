"""If these fail, a process takes itself for another kind of process, or a command misses a log."""

import pytest

from portcullis.config import Config
from portcullis.config.places import (
    CONTROL,
    GATE,
    Role,
    audit_directory,
    gateway_logs,
    gateway_name,
    logs_of,
    own_log,
)
from portcullis.core.errors import Problem


@pytest.fixture
def config(tmp_path):
    return Config(trust_domain="example.org", state=tmp_path / "state")


def made(config, *names):
    for name in names:
        place = audit_directory(config, name)
        place.mkdir(parents=True)
        (place / "log.vkey").write_text("a key")


@pytest.mark.parametrize(
    ("name", "role", "rules", "enforces"),
    [
        (GATE, Role.ALONE, True, True),
        (CONTROL, Role.CONTROL, True, False),
        ("gate-1", Role.GATEWAY, False, True),
        ("mcp-git", Role.WRAPPER, False, False),
    ],
    ids=["gate", "control", "gateway", "wrapper"],
)
def test_a_logs_name_says_what_its_writer_is(name, role, rules, enforces):
    found = Role.of(name)
    assert (found, found.rules, found.enforces) == (role, rules, enforces)
    assert found.alone is (name == GATE)
    assert found.lasting is (name != "mcp-git")


@pytest.mark.parametrize("name", [GATE, CONTROL, "mcp-x", "", "Gate", "a/b", "..", "a" * 64])
def test_a_gateway_gets_no_name_that_means_something_else(name):
    with pytest.raises(Problem, match="PC7004"):
        gateway_name(name)
    assert gateway_name("edge_2") == "edge_2"


def test_every_log_is_found_and_lies_apart(config):
    names = (GATE, CONTROL, "gate-1", "mcp-git")
    assert len({audit_directory(config, name) for name in names}) == len(names)
    assert logs_of(config) == {}
    made(config, *names)
    assert set(logs_of(config)) == set(names)
    assert set(gateway_logs(config)) == {"gate-1"}


def test_what_is_done_while_nothing_runs_goes_where_the_deployment_had_its_log(config):
    assert own_log(config) == GATE
    made(config, CONTROL, "gate-1")
    assert own_log(config) == CONTROL
    made(config, GATE)
    assert own_log(config) == GATE
