"""If these fail, the promise about kills is held against a figure that means something else."""

import json

import pytest
from typer.testing import CliRunner

from portcullis import cli
from portcullis.bench import kill, kill_load, kill_neighbour
from portcullis.bench.kill import LAST_BYTE_MS, Kill, figures, neighbours
from portcullis.core.errors import Problem


def answer(*milliseconds):
    return {"gateways": [{"acknowledged_ms": one, "own_ms": 0.5} for one in milliseconds]}


def ends(last, *closed):
    return kill_load.Ends(connections=closed, streams=(last,), last=last, content=0.0, told=1)


def test_a_kill_takes_until_the_last_byte_of_the_last_stream():
    kills = [Kill(10.0, answer(2.0, 3.0)), Kill(20.0, answer(1.0, 9.0))]
    outcome = kill_load.Outcome(agents=(ends(10.004, 10.006), ends(20.008, 20.005)))
    found = figures(kills, outcome, 2)
    assert found["kills"] == 2
    assert found["last_byte_p50_ms"] == pytest.approx(4)
    assert found["last_byte_max_ms"] == pytest.approx(8)
    assert found["closed_max_ms"] == pytest.approx(8)
    assert found["closed_p50_ms"] == pytest.approx(6)
    assert (found["acknowledged_p50_ms"], found["acknowledged_max_ms"]) == (3, 9)


def test_a_gateway_that_says_nothing_is_counted():
    outcome = kill_load.Outcome(agents=(ends(10.004, 10.006),))
    found = figures([Kill(10.0, answer(2.0, None))], outcome, 2)
    assert (found["unacknowledged"], found["acknowledged_max_ms"]) == (1, 2)
    with pytest.raises(Problem, match="no gateway"):
        figures([Kill(10.0, answer(None, None))], outcome, 2)


def test_neighbours_are_compared_within_the_run():
    due = tuple(number / 10 for number in range(100))
    took = tuple(0.002 if 2 <= at < 4 or 6 <= at < 8 else 0.001 for at in due)
    called = kill_neighbour.Outcome(due=due, took=took, failed=0)
    found = neighbours(called, [(2.0, 3.95), (6.0, 7.95)])
    assert (found["neighbours_p99_ms"], found["neighbours_p99_killing_ms"]) == (1, 2)
    assert found["neighbours_p99_change_percent"] == 100
    with pytest.raises(Problem, match="no calls to compare"):
        neighbours(kill_neighbour.Outcome(due=(), took=(), failed=0), [(2.0, 3.0)])


def test_the_command_kills_and_prints_one_object(tmp_path, monkeypatch):
    monkeypatch.setattr(kill, "_SETTLE_SECONDS", 0.2)
    sizes = ("--gateways", "2", "--connections", "12", "--streams", "4", "--kills", "4")
    done = CliRunner().invoke(
        cli._app("bench"), ["bench", "kill", *sizes, "--folder", str(tmp_path), "--json"]
    )
    assert done.exit_code == 0, done.exception
    printed = json.loads(done.stdout)
    assert printed["command"] == "bench kill --via unix"
    assert printed["figures"]["kills"] == 4
    assert 0 < printed["figures"]["last_byte_p50_ms"] <= printed["figures"]["last_byte_max_ms"]
    assert printed["targets"]["last_byte_p99_ms"]["value"] == LAST_BYTE_MS["unix"]
