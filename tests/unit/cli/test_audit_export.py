"""If these fail, a log that is printed takes over the terminal of whoever reads it."""

from __future__ import annotations

import json
import sys

import pytest

from portcullis.cli.audit_export import export
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
