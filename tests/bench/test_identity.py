"""If these fail, a promise about identity is held against a figure that means something else."""

import json
import time

import msgspec
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from portcullis import cli
from portcullis.bench import identity_parts
from portcullis.bench.identity_cut import Cut, ended, figures
from portcullis.bench.identity_load import Outcome, Plan
from portcullis.bench.identity_stage import Stage
from portcullis.bench.report import Report
from portcullis.client.svid import Svid
from portcullis.core.errors import Problem
from portcullis.core.spiffe import SpiffeId

SMALL = ("--seconds", "0.01", "--repeats", "1", "--connections", "12", "--streams", "4")


def cut(connections, streams=(1.0,), **more):
    rest = {"content": -2.0, "served": -1.0, "answer": 30.0, "gate": 5.0}
    return Cut(connections=connections, streams=streams, **rest | more)


def test_figures_are_medians_of_the_repeats_and_the_worst_stands_beside_them():
    found = figures(
        [
            cut((*range(1, 100), 400.0), served=-3.0),
            cut((*range(11, 110), 500.0), streams=(7.0, 9.0), served=0.5),
            cut((*range(21, 120), 600.0)),
        ]
    )
    assert found["revoke_connections_p50_ms"] == 60
    assert found["revoke_connections_p99_ms"] == 109
    assert found["revoke_connections_p99_least_ms"] == 99
    assert found["revoke_connections_max_ms"] == 600
    assert found["revoke_streams_p99_ms"] == 1
    assert found["revoke_streams_max_ms"] == 9
    assert found["revoke_last_served_ms"] == 0.5
    assert found["revoke_last_content_ms"] == 0
    assert found["revoke_in_gate_ms"] == 5


SVID = Svid(
    id=SpiffeId("bench.test", "/agent/a"),
    chain=(),
    key=b"",
    roots=(),
    serial="",
    thumbprint="",
    issued_at=0.0,
    expires_at=0.0,
)
PLAN = Plan(
    port=1,
    agent=SVID,
    neighbour=SVID,
    connections=2,
    streams=1,
    askers=1,
    kept_connections=1,
    kept_streams=1,
    seconds=1.0,
)
GOOD = Outcome(
    connections=(100.004, 100.002),
    streams=(100.008,),
    content=99.9,
    served=100.001,
    told=1,
    refused=True,
    unharmed=True,
)


def test_ends_count_from_the_moment_when_the_request_was_sent():
    connections, streams = ended(GOOD, PLAN, 100.0)
    assert connections == pytest.approx((4, 2))
    assert streams == pytest.approx((8,))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"connections": (100.004,)}, "1 connections or streams outlived the agent"),
        ({"streams": ()}, "1 connections or streams outlived the agent"),
        ({"told": 0}, "without a reason"),
        ({"refused": False}, "came back"),
        ({"unharmed": False}, "neighbour"),
        ({"connections": (99.0, 100.002)}, "before the agent was revoked"),
    ],
)
def test_a_cut_that_did_less_or_more_than_it_should_gives_no_figure(what, said):
    with pytest.raises(Problem, match=said):
        ended(replace(GOOD, **what), PLAN, 100.0)


def test_the_gate_s_own_time_is_that_of_the_cut_that_was_just_made(tmp_path):
    output = tmp_path / "output"
    stage = Stage.__new__(Stage)
    stage._output, stage._seen = output, 0
    line = '{{"count": {}, "milliseconds": {}, "event": "connections_cut"}}\n'
    output.write_text("gate     http://...\n" + line.format(3, 1.5) + line.format(100, 4.5))
    assert stage.cut_ms(100) == 4.5
    with pytest.raises(Problem, match="does not say"):
        stage.cut_ms(100)
    with output.open("a") as log:
        log.write(line.format(101, 6.5))
    assert stage.cut_ms(100) == 6.5


def test_a_cost_is_of_our_own_processor_time_and_not_of_what_is_prepared_or_waited_for():
    def spin(_):
        until = time.thread_time() + 0.001
        while time.thread_time() < until:
            pass
        time.sleep(0.001)

    def items():
        spin(None)
        return range(20)

    assert identity_parts._typical(spin, items, 0.0) == pytest.approx(0.001, rel=0.3)


@pytest.mark.slow
def test_all_of_it_is_measured_against_a_running_gate_and_held_against_its_promises(monkeypatch):
    done = CliRunner().invoke(cli._app("bench"), ["bench", "identity", *SMALL, "--json"])
    assert done.exit_code == 0, done.exception
    result = json.loads(done.stdout)
    assert sorted(result) == ["command", "figures", "machine", "targets", "version"]
    assert result["command"] == "bench identity"
    figures, targets = result["figures"], result["targets"]
    assert {name: (one["op"], one["value"]) for name, one in targets.items()} == {
        "svid_per_s": (">=", 2000),
        "verify_x5t_cached_us": ("<=", 10),
        "revoke_last_served_ms": ("<=", 10),
        "revoke_connections_p99_ms": ("<=", 10),
        "revoke_streams_p99_ms": ("<=", 10),
    }
    for name, one in targets.items():
        kept = figures[name] >= one["value"] if one["op"] == ">=" else figures[name] <= one["value"]
        assert one["met"] == kept
    assert all(value >= 0 for value in figures.values())
    assert figures["verify_x5t_cached_us"] < figures["verify_x5t_cold_us"]
    assert figures["verify_dpop_cached_us"] < figures["verify_dpop_cold_us"]
    assert 0 < figures["revoke_in_gate_ms"] < figures["revoke_connections_max_ms"]

    # people read beside a figure whether the promise was kept
    report = msgspec.convert(result, Report)
    monkeypatch.setattr("portcullis.cli.bench.measure_identity", lambda *_: report)
    shown = CliRunner().invoke(cli._app("bench"), ["bench", "identity", *SMALL]).stdout
    (line,) = [one for one in shown.splitlines() if one.startswith("svid_per_s")]
    assert line.endswith(f">= 2,000: {'met' if targets['svid_per_s']['met'] else 'NOT MET'}")
