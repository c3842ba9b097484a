import json

import msgspec
import pytest
from typer.testing import CliRunner

from effort import by_night
from portcullis import cli
from portcullis.bench.fleet import Cell, Settings, figures, growth, kept, targets
from portcullis.bench.fleet_load import Outcome
from portcullis.bench.soak import Slice
from portcullis.bench.soak import figures as soaked


def outcome(cpu_s, calls=100, **more):
    return Outcome(
        **{
            "calls": calls,
            "within": calls,
            "seconds": 2.0,
            "by_kind": {"json": calls},
            "p50_ms": {"json": 1.0},
            "p99_ms": {"json": 2.0},
            "cpu_s": cpu_s,
            "rss_mb": {},
            "load_us": 1.0,
            "errors": {},
        }
        | more
    )


@pytest.mark.slow
def test_a_tiny_cell_has_real_gates_beside_a_bare_proxy_and_is_not_measured_twice(tmp_path):
    words = ("--gateways", "1", "--connections", "4", "--seconds", "1", "--rounds", "1")
    file = tmp_path / "cells.jsonl"
    argv = ["bench", "fleet", *words, "--only", "mix", "--json", "--cells", str(file)]
    done = CliRunner().invoke(cli._app("bench"), argv)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["figures"]
    gate, bare = (found[f"g1_c4_mix_{name}_cpu_us"] for name in ("gate", "bare"))
    assert found["g1_c4_mix_ratio"] == pytest.approx(gate / bare, rel=0.01)
    for kind in ("json", "sse", "tools"):
        assert found[f"g1_c4_mix_gate_{kind}_p50_ms"] > 0
    [cell] = [msgspec.json.decode(line, type=Cell) for line in file.read_bytes().splitlines()]
    assert (cell.gateways, cell.connections, bool(cell.machine.processor)) == (1, 4, True)
    again = CliRunner().invoke(cli._app("bench"), argv)
    assert json.loads(again.stdout)["figures"] == found
    assert len(file.read_bytes().splitlines()) == 1


def test_ratios_are_of_neighbours_in_time_and_held_against_what_is_promised():
    runs = {
        ("gate", "json"): [outcome({"gate": one, "control": 0.01}) for one in (0.03, 0.3, 0.06)],
        ("bare", "json"): [outcome({"bare": one}) for one in (0.01, 0.1, 0.01)],
        ("litellm", "json"): [outcome({"litellm": one}) for one in (0.9, 9.0, 0.6)],
    }
    found = figures(runs, [(10.0, 200.0), (400.0, 210.0)])
    assert (found["json_ratio"], found["json_over_litellm"]) == pytest.approx((3, 30))
    assert found["json_control_cpu_us"] == pytest.approx(100)
    held = targets({f"g1_c50_{name}": value for name, value in found.items()})
    assert {name: one.met for name, one in held.items()} == {
        "g1_c50_json_ratio": True,
        "g1_c50_json_over_litellm": True,
        "g1_c50_growth_percent": False,
    }


def test_memory_that_grows_steadily_is_seen_and_what_is_made_once_is_not():
    steady = [(60.0 * at, 300.0 + at) for at in range(1, 20)]
    once = [(60.0 * at, 250.0 if at < 4 else 300.0) for at in range(1, 20)]
    assert growth(steady) == pytest.approx(100 * 10 / 311.5, rel=0.02)
    assert growth(once) == pytest.approx(0)


def test_a_file_that_is_none_of_cells_is_refused(tmp_path):
    file = tmp_path / "cells.jsonl"
    file.write_text("gibberish\n")
    with pytest.raises(Exception, match="PC7004"):
        kept(Settings(cells=file))


@by_night("two minutes")
def test_soaking_kills_gateways_and_control_and_finds_no_rule_broken(tmp_path):
    file = tmp_path / "slices.jsonl"
    words = ("--seconds", "120", "--slice-seconds", "20", "--seed", "4", "--json")
    done = CliRunner().invoke(cli._app("bench"), ["bench", "soak", *words, "--cells", str(file)])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)["figures"]
    assert (figures["slices"], figures["violations"]) == (6, 0)
    slices = [msgspec.json.decode(line, type=Slice) for line in file.read_bytes().splitlines()]
    assert all(one.calls and one.recorded >= one.asked > 0 for one in slices)


def test_every_rule_that_was_broken_counts():
    one = Slice(
        number=0,
        run="r",
        seconds=60.0,
        fault="control",
        calls=5,
        errors={"503": 2},
        back_s=1.5,
        rss_mb=200.0,
        asked=3,
        recorded=2,
        broken=("the model was asked without a record",),
        command="",
        version="1",
        at="",
    )
    found = soaked([one, msgspec.structs.replace(one, number=1, back_s=2.5, fault="none")])
    assert (found["violations"], found["back_s"], found["answers_503"]) == (2, 2.5, 4)
    assert (found["fault_control"], found["fault_none"]) == (1, 1)
