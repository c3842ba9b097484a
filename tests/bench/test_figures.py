import pytest

from portcullis.bench.disk import fdatasync_ms
from portcullis.bench.load import Outcome
from portcullis.bench.measure import Cell, figures
from portcullis.bench.report import target
from portcullis.bench.subjects import JSON


def outcome(cpu_us, p50_ms=1.0, p99_ms=2.0, calls=100):
    return Outcome(
        calls=calls,
        errors=0,
        first_error=None,
        seconds=0.5,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        cpu_us=cpu_us,
        load_us=10.0,
    )


@pytest.fixture
def found():
    cell, half = Cell(JSON, 50), Cell(JSON, 50, rate=400.0)
    return figures(
        {
            ("direct", cell): [outcome(30, p50_ms=0.1, p99_ms=0.4)] * 3,
            ("bare", cell): [outcome(100, p50_ms=0.5), outcome(200), outcome(100, p50_ms=0.7)],
            ("gate", cell): [outcome(210, p50_ms=1.5), outcome(400), outcome(900, p50_ms=1.5)],
            ("bare", half): [outcome(100, p99_ms=3), outcome(100, p99_ms=4)],
            ("gate", half): [outcome(100, p99_ms=9), outcome(100, p99_ms=5)],
        },
        [4.0, 1.0, 2.0],
    )


def test_the_ratio_compares_neighbours_so_that_a_noisy_moment_does_not_decide(found):
    assert found["cpu_ratio_json"] == pytest.approx(2.1)  # of 2.1, 2.0 and 9.0


def test_added_latency_is_over_a_direct_call(found):
    assert found["json_c50_gate_added_p50_ms"] == pytest.approx(1.4)
    assert found["json_c50_bare_added_p50_ms"] == pytest.approx(0.6)
    assert found["json_c50_gate_rps"] == pytest.approx(200)


def test_the_open_loop_has_its_own_figures(found):
    assert found["p99_half_capacity_ms"] == pytest.approx(7)
    assert found["json_half_bare_p99_ms"] == pytest.approx(3.5)
    assert found["json_half_offered_rps"] == 400
    assert found["fdatasync_p50_ms"] == 2
    assert found["fdatasync_p99_ms"] == 4


def test_a_target_is_met_exactly_when_its_figure_keeps_it():
    assert target({"x": 2.5}, "x", "<=", 2.5).met
    assert not target({"x": 2.51}, "x", "<=", 2.5).met
    assert target({"x": 3.0}, "x", ">=", 2.5).met
    assert not target({"x": 2.0}, "x", ">=", 2.5).met


def test_the_disk_is_measured_write_by_write(tmp_path):
    taken = fdatasync_ms(tmp_path, 5)
    assert len(taken) == 5
    assert all(0 < each < 5000 for each in taken)
    assert list(tmp_path.iterdir()) == []
