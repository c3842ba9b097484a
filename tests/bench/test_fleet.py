import contextlib
import json

import msgspec
import pytest
from typer.testing import CliRunner

from effort import by_night
from portcullis import __version__, cli
from portcullis.bench import fleet, fleet_stage
from portcullis.bench.cells import keep, kept
from portcullis.bench.fleet import Cell, Settings, figures, growth, measure_fleet, targets
from portcullis.bench.fleet_load import Outcome
from portcullis.bench.fleet_peers import ContextForge
from portcullis.bench.report import Machine
from portcullis.bench.soak import Settings as SoakSettings
from portcullis.bench.soak import Slice, _expected, measure_soak
from portcullis.bench.soak import figures as soaked
from portcullis.core.errors import Problem


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


def slice_of(**more):
    made = {
        "number": 0,
        "run": "r",
        "seed": 1,
        "seconds": 60.0,
        "fault": "control",
        "calls": 5,
        "errors": {"503": 2},
        "back_s": 1.5,
        "rss_mb": 200.0,
        "asked": 3,
        "recorded": 2,
        "broken": ("the model was asked without a record",),
        "command": "",
        "version": __version__,
        "at": "",
    }
    return Slice(**made | more)


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
    with pytest.raises(Problem, match="no file of such") as refused:
        measure_fleet(Settings(cells=file))
    assert refused.value.code == "PC7004"


def test_a_line_that_was_broken_off_is_measured_again_and_spoils_nothing(tmp_path):
    file, machine = tmp_path / "machines.jsonl", Machine("s", "p", 2, "3", 0.5)
    keep(file, machine)
    with file.open("ab") as lines:
        lines.write(b'{"system":"s","proc')
    assert kept(file, Machine) == [machine]
    keep(file, machine)
    assert kept(file, Machine) == [machine, machine]


def test_a_peer_that_fails_is_left_out_and_that_is_kept_with_the_cell(tmp_path, monkeypatch):
    """Whether it does not start, or answers wrongly later: our own figures are measured."""
    with contextlib.ExitStack() as stack:
        peer, found = ContextForge(tmp_path / "python"), []
        without = fleet_stage._others(stack, tmp_path, "http://127.0.0.1:1", (peer,), found)
    assert (list(without), found) == (["contextforge"], [])

    def driven(subject, *_, **__):
        if subject.name == "litellm":
            raise Problem("PC7007", "it answered 500")
        return outcome({subject.name: 0.1, "control": 0.1}, rss_mb={subject.name: 100.0})

    monkeypatch.setattr(fleet, "_driven", driven)
    names = ("bare", "gate", "litellm")
    subjects = tuple(fleet_stage.Subject(name, (1,), {"json": None}, {}) for name in names)
    stage = fleet_stage.Stage(subjects, tmp_path, 1, 2, {}, lambda _: None, without)
    settings = Settings(kinds=("json",), seconds=4.0, rounds=2)
    runs, memory = fleet._rounds(settings, stage, 50, without, lambda _: None)
    assert without["litellm"] == "it answered 500"
    assert {turn: len(found) for turn, found in runs.items()} == {
        ("bare", "json"): 2,
        ("gate", "json"): 2,
    }
    assert memory == [(1.0, 100.0), (2.0, 100.0)]


def test_peers_are_in_the_first_cell_and_memory_is_looked_at_in_the_first_and_the_last(tmp_path):
    peer = ContextForge(tmp_path)
    settings = Settings(gateways=(1, 4), connections=(50, 200), peers=(peer,), growth=600.0)
    wanted = [
        (one.gateways, one.connections, one.kinds == fleet.GROWTH, len(one.peers), one.seconds)
        for one in fleet._all_wanted(settings)
    ]
    assert wanted == [
        (1, 50, False, 1, 60.0),
        (1, 200, False, 0, 60.0),
        (4, 50, False, 0, 60.0),
        (4, 200, False, 0, 60.0),
        (1, 50, True, 0, 600.0),
        (4, 200, True, 0, 600.0),
    ]


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
    one = slice_of()
    found = soaked([one, msgspec.structs.replace(one, number=1, back_s=2.5, fault="none")])
    assert (found["violations"], found["back_s"], found["answers_503"]) == (2, 2.5, 4)
    assert (found["fault_control"], found["fault_none"]) == (1, 1)


def test_a_soak_that_goes_on_takes_its_own_slices_alone_and_says_what_was_broken(tmp_path):
    file, said = tmp_path / "slices.jsonl", []
    for number, seed in enumerate((1, 2, 1)):
        keep(file, slice_of(number=number, seed=seed))
    settings = SoakSettings(seconds=120.0, slice_seconds=60.0, seed=1, cells=file)
    found = measure_soak(settings, warn=said.append).figures
    assert (found["slices"], found["violations"]) == (2, 2)
    assert said[1] == "slice 3 (control): the model was asked without a record"


@pytest.mark.parametrize(
    ("status", "fault", "expected"),
    [
        ("503", "none", True),
        ("0", "gate-2", True),
        ("-1", "gate-3", True),
        ("0", "control", True),
        ("-1", "control", False),
        ("0", "none", False),
        ("500", "gate-2", False),
    ],
)
def test_calls_break_off_only_where_somebody_was_killed(status, fault, expected):
    assert _expected(status, fault) is expected
