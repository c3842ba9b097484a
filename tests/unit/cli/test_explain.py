"""Every code is explained, however it was typed."""

import json
import sys

import pytest

from portcullis import cli
from portcullis.cli.explain import explain as command
from portcullis.core.codes import CODES


@pytest.fixture
def explain(monkeypatch, capsys):
    """What the command says: exit code, stdout, stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["portcullis", "explain", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return run


def test_every_code_is_explained_with_what_to_do(capsys):
    for code, entry in CODES.items():
        command(code)
        said = capsys.readouterr().out
        assert f"{code}: {entry.title}" in said
        assert entry.hint in said


def test_a_code_is_found_as_people_type_it_and_its_neighbours_are_named(explain):
    for typed in ("pc3040", "3040"):
        assert explain(typed)[1].startswith("PC3040: ")
    code, out, err = explain("PC3099")
    assert (code, out) == (2, "")
    code, out, err = explain("PC3049x")
    assert "PC3040" in err
    assert explain("nothing like it")[0] == 2


def test_all_codes_are_listed(explain):
    assert json.loads(explain("--json")[1]).keys() == CODES.keys()
    assert len(explain()[1].splitlines()) == len(CODES)
