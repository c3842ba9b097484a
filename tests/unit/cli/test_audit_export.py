"""If these fail, a log that is printed takes over the terminal of whoever reads it."""

from __future__ import annotations

import gzip
import json
import sys

import pytest

from portcullis.cli.audit_export import export
from portcullis.core.errors import Problem
from unit.audit.conftest import Place

EVIL = "x\x9b2J\u202e\x7f"


@pytest.mark.parametrize("form", ["json", "ocsf", "cef"])
def test_what_an_event_says_does_not_act_in_a_terminal(place_with_evil, form, monkeypatch, capfd):
    export(place_with_evil, form=form)
    piped = capfd.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    export(place_with_evil, form=form)
    shown = capfd.readouterr().out
    assert shown.strip().isprintable()
    assert "\u202e" in piped
    if form != "cef":
        assert json.loads(shown) == json.loads(piped)


@pytest.fixture
def place_with_evil(tmp_path):
    place = Place(tmp_path)
    place.fill(1, reason=EVIL)
    return place.log


def test_opas_decision_log_is_one_array_of_the_decisions(tmp_path, capfdbinary):
    place = Place(tmp_path)
    place.fill(3)
    export(place.log, form="json")
    events = [json.loads(one)["event"] for one in capfdbinary.readouterr().out.splitlines()]
    export(place.log, form="opa")
    shown = json.loads(gzip.decompress(capfdbinary.readouterr().out))
    decided = [one["id"] for one in events if one["type"] in ("decision", "tool_call", "llm_call")]
    assert [one["decision_id"] for one in shown] == decided
    with pytest.raises(Problem, match="one document"):
        export(place.log, form="opa", forever=True)


def test_a_log_without_decisions_is_an_empty_array(tmp_path, capfdbinary):
    place = Place(tmp_path)
    place.fill(1, type="admin")
    export(place.log, form="opa")
    assert json.loads(gzip.decompress(capfdbinary.readouterr().out)) == []
