import json
import sys

import pytest

from portcullis.bench import gate
from portcullis.bench.measure import Settings, measure
from portcullis.bench.subjects import JSON
from portcullis.core.errors import Problem

SHORT = {"seconds": 0.2, "repeats": 1, "connections": (2,)}


@pytest.mark.parametrize(
    ("command", "what"),
    [("/no/such/program {port}", "cannot start"), (f"{sys.executable} -c 'print(5*5)'", "25")],
)
def test_a_proxy_that_does_not_run_is_named_with_its_last_line(tmp_path, command, what):
    with pytest.raises(Problem) as caught:
        measure(Settings(**SHORT, shapes=(JSON,), beside=command, folder=tmp_path), print)
    assert caught.value.code == "PC7007"
    assert what in caught.value.detail


def test_the_policy_that_is_measured_has_100_agents_and_30_rules():
    policy = gate.policy()
    assert len(policy["agents"]) == 100
    assert sum(len(role["permissions"]) for role in policy["roles"].values()) == 30
    assert json.dumps(policy).count('"resource"') == 30
