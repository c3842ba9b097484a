"""If this fails, a program writes into what another one shares, which either may misread."""

import contextlib
import sqlite3

import pytest

from portcullis.core.errors import Problem
from portcullis.core.formats import FORMAT
from portcullis.store.volatile import Volatile

SCHEMA = "CREATE TABLE things (name TEXT)"


@pytest.mark.parametrize("ahead", [-2, -1, 0, 1, 2])
def test_what_a_program_one_format_away_has_made_is_used_and_nothing_further(tmp_path, ahead):
    path = tmp_path / "things.db"
    with contextlib.closing(Volatile(path, SCHEMA)):
        with contextlib.closing(sqlite3.connect(path)) as behind:
            behind.execute(f"PRAGMA user_version = {FORMAT + ahead}")
        if abs(ahead) > 1:
            with pytest.raises(Problem, match="PC7087"):
                Volatile(path, SCHEMA)
            return
        with contextlib.closing(Volatile(path, SCHEMA)) as second:
            assert not second.fresh
            assert second.read("SELECT name FROM things") == []
