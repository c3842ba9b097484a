"""The demonstration never deletes what is not its own."""

import pytest

from portcullis.core.errors import Problem
from portcullis.demo.run import MARKER, prepared


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(Problem) as refused, prepared(tmp_path):
        pass
    assert refused.value.code == "PC7004"
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_earlier_demonstration_is_cleared_away(tmp_path):
    with prepared(tmp_path / "demo"):
        (tmp_path / "demo" / "company.db").write_text("old")
        (tmp_path / "demo" / "state").mkdir()
    with prepared(tmp_path / "demo"):
        assert [path.name for path in (tmp_path / "demo").iterdir()] == [MARKER]
    assert (tmp_path / "demo").stat().st_mode & 0o077 == 0


def test_a_demonstration_that_still_runs_keeps_its_log(tmp_path):
    with prepared(tmp_path / "demo"):
        (tmp_path / "demo" / "company.db").write_text("in use")
        with pytest.raises(Problem) as refused, prepared(tmp_path / "demo"):
            pass
        assert refused.value.code == "PC7004"
        assert (tmp_path / "demo" / "company.db").read_text() == "in use"


def test_a_gate_of_ones_own_may_begin_in_the_folder_above(tmp_path):
    with prepared(tmp_path / "portcullis-state" / "demo"):
        assert (tmp_path / "portcullis-state").stat().st_mode & 0o077 == 0
