import json

import pytest
from typer.testing import CliRunner

from needs import missing, needs_boxes
from portcullis import cli
from portcullis.bench import sandbox
from portcullis.bench.sandbox_neighbour import BAD

pytestmark = needs_boxes


def bench(*words):
    done = CliRunner().invoke(cli._app("bench"), ["bench", "sandbox", *words, "--json"])
    if getattr(done.exception, "code", "") == "PC5030":
        missing("no adapter holds strict boxes here")
    assert done.exit_code == 0, done.exception
    return json.loads(done.stdout)


def test_a_box_costs_more_than_none_and_a_warm_one_less_than_a_cold_one(monkeypatch):
    monkeypatch.setattr(sandbox, "adapters", lambda: ("bubblewrap",))
    result = bench("--only", "starts", "--starts", "5")
    figures = result["figures"]
    assert figures["bubblewrap_true_p50_ms"] > figures["bare_true_p50_ms"] > 0
    assert figures["bubblewrap_python_added_ms"] == pytest.approx(
        figures["bubblewrap_python_p50_ms"] - figures["bare_python_p50_ms"], abs=0.01
    )
    assert 0 < figures["bubblewrap_warm_p50_ms"] < figures["bubblewrap_python_p50_ms"]
    warm = result["targets"]["bubblewrap_warm_p50_ms"]
    assert warm["met"] == (figures["bubblewrap_warm_p50_ms"] <= 5)


def test_a_neighbour_is_listened_to_alone_and_beside_each_bad_box():
    result = bench("--only", "neighbour", "--rounds", "1", "--seconds", "0.2")
    for name in BAD:
        quiet, busy, ratio = (
            result["figures"][f"{name}_{what}"]
            for what in ("quiet_p99_ms", "busy_p99_ms", "neighbour_p99_ratio")
        )
        assert ratio == pytest.approx(busy / quiet, rel=0.05)
        assert result["targets"][f"{name}_neighbour_p99_ratio"]["value"] == 1.1


def test_the_way_out_is_measured_beside_a_direct_one():
    result = bench("--only", "egress", "--calls", "5")
    figures = result["figures"]
    assert figures["egress_gate_p50_ms"] > figures["egress_direct_p50_ms"] > 0
    assert figures["egress_kept_gate_p50_ms"] < figures["egress_gate_p50_ms"]
    assert figures["egress_fresh_p50_ms"] > figures["egress_direct_p50_ms"]
    ratio = figures["egress_gate_p50_ms"] / figures["egress_direct_p50_ms"]
    assert figures["egress_p50_ratio"] == pytest.approx(ratio, rel=0.05)
    added = figures["egress_gate_p50_ms"] - figures["egress_direct_p50_ms"]
    assert figures["egress_p50_added_ms"] == pytest.approx(added, abs=0.01)
    assert figures["egress_near_direct_p50_ms"] > 12, "three round trips of 4 ms"
    assert figures["egress_near_gate_p05_ms"] > 12
    assert figures["egress_boxed_p05_ms"] > figures["egress_direct_p05_ms"]
    assert min(figures["egress_direct_mib_per_s"], figures["egress_gate_mib_per_s"]) > 0
    assert list(result["targets"]) == ["egress_p50_ratio", "egress_near_p50_ratio"]
