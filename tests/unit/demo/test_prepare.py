"""The demonstration never deletes what is not its own."""

import pytest

from portcullis.core.errors import Problem
from portcullis.demo.run import prepare


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(Problem) as refused:
        prepare(tmp_path)
    assert refused.value.code == "PC7004"
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_earlier_demonstration_is_cleared_away(tmp_path):
    prepare(tmp_path / "demo")
    (tmp_path / "demo" / "company.db").write_text("old")
    prepare(tmp_path / "demo")
    assert not (tmp_path / "demo" / "company.db").exists()
    assert (tmp_path / "demo").stat().st_mode & 0o077 == 0
