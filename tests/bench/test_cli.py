import json
import sys

import msgspec
import pytest
from typer.testing import CliRunner

from portcullis import cli
from portcullis.bench import measure
from portcullis.bench.report import Report

GATE = ("--connections", "50", "--seconds", "0.6", "--repeats", "1")
PROXY = f"{sys.executable} -m portcullis.bench.passthrough {{port}} {{upstream}}"


def run(*arguments):
    return CliRunner().invoke(cli._app("bench"), ["bench", *arguments])


@pytest.mark.slow
def test_bench_without_a_noun_measures_the_gate_beside_another_proxy_and_holds_its_promises(
    tmp_path, monkeypatch
):
    heard, measured = [], measure.measure
    monkeypatch.setattr(measure, "measure", lambda how, _: measured(how, heard.append))
    done = run(*GATE, "--beside", PROXY, "--folder", str(tmp_path), "--json")
    assert done.exit_code == 0
    assert "round 1 of 1: json_c50" in heard
    assert list(tmp_path.iterdir()) == []
    result = json.loads(done.stdout)
    assert sorted(result) == ["command", "figures", "machine", "targets", "version"]
    assert result["command"] == "bench gate"
    assert sorted(result["targets"]) == ["cpu_ratio_json", "p99_half_capacity_ms"]
    for name, target in result["targets"].items():
        assert target["op"] == "<="
        assert target["met"] == (result["figures"][name] <= target["value"])
    figures = result["figures"]
    limit = figures["json_half_bare_p99_ms"] + figures["fdatasync_p50_ms"] + 2
    assert result["targets"]["p99_half_capacity_ms"]["value"] == pytest.approx(limit, abs=0.01)
    assert figures["json_half_offered_rps"] == pytest.approx(
        figures["json_c50_bare_rps"] / 2, rel=0.01
    )
    for shape in ("json", "sse"):
        for subject in ("direct", "bare", "gate", "beside"):
            assert figures[f"{shape}_c50_{subject}_rps"] > 10
            assert figures[f"{shape}_c50_{subject}_cpu_us"] > 0
        assert figures[f"{shape}_half_bare_p99_ms"] > 0
        # The generator must cost less than a proxy, or it would measure itself.
        assert figures[f"{shape}_c50_bare_load_us"] < figures[f"{shape}_c50_bare_cpu_us"]
    assert result["machine"]["cpus"] > 0

    # people get the same as a table that says whether the promises were kept
    monkeypatch.setattr(measure, "measure", lambda *_: msgspec.convert(result, Report))
    table = run("gate", *GATE).stdout
    for name, target in result["targets"].items():
        kept = "met" if target["met"] else "NOT MET"
        assert f"{name}: {figures[name]:.2f} <= {target['value']:.2f}: {kept}" in table
    assert "fdatasync p50" in table
    assert all(len(line) <= 80 for line in table.splitlines())


def test_the_log_can_be_measured_alone():
    result = json.loads(run("audit", "--seconds", "0.1", "--json").stdout)
    assert result["command"] == "bench audit"
    assert result["figures"]["offered_5000_p99_ms"] > 0
    assert sorted(result["targets"]) == ["commit_sqlite_ratio"]
    assert "offered_5000_p99_ms" in run("audit", "--seconds", "0.1").stdout


def test_a_senseless_number_of_connections_is_refused_before_anything_starts():
    assert run("--connections", "1,none").exception.code == "PC7004"
