"""If these fail, `portcullis bench capacity` or `bench traces` says nothing, or something wrong."""

import json

import pytest
from typer.testing import CliRunner

from effort import by_night
from portcullis import cli
from portcullis.bench.capacity_servers import asked


def done(*words):
    result = CliRunner().invoke(cli._app("bench"), ["bench", *words, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["figures"]


def test_what_goes_on_anyway_is_not_put_down_to_calls():
    counts = iter([0, 0, 0, 5000])
    idle, each = asked(lambda: next(counts), lambda: 100, 0.0)
    assert (idle, each) == (0, 50)


@by_night("minutes")
def test_a_core_carries_something_and_all_of_it_takes_room():
    figures = done("capacity", "--seconds", "0.5", "--agents", "100", "--sessions", "100")
    for shape in ("json", "sse"):
        assert figures[f"{shape}_per_core_s"] == pytest.approx(
            1e6 / figures[f"{shape}_cpu_us"], 0.01
        )
        assert figures[f"{shape}_log_bytes"] > 500
    assert figures["memory_mb"] > 50


@by_night("minutes")
def test_traces_are_compared_with_none_in_turns():
    figures = done("traces", "--seconds", "0.3", "--rounds", "1")
    off, all_of_them = figures["traces_off_cpu_us"], figures["traces_all_cpu_us"]
    assert figures["traces_all_ratio"] == pytest.approx(all_of_them / off, abs=0.01)
