"""The slot for a model: what is installed is loaded, and what it answers is held to account."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint

import pytest

from portcullis.core.errors import Problem
from portcullis.core.inspection import Category, Match
from portcullis.inspection import ner


class Rivers:
    """Finds two rivers, in no order."""

    def find(self, text):
        return [
            Match(
                entity="LOCATION",
                category=Category.PERSONAL,
                start=found.start(),
                end=found.end(),
                score=0.9,
                rule="rivers",
            )
            for found in reversed(list(re.finditer("Elbe|Rhine", text)))
        ]


class Liar(Rivers):
    """Answers for another text."""

    def find(self, text):
        return super().find(text + " Elbe")


class Broken:
    """Cannot be made."""

    def __init__(self):
        raise OSError("no such model: secret-path")


def entry(name):
    return EntryPoint(name=name.lower(), value=f"rivers:{name}", group=ner.GROUP)


@pytest.fixture
def module(monkeypatch):
    import sys  # noqa: PLC0415
    import types  # noqa: PLC0415

    made = types.ModuleType("rivers")
    made.Rivers, made.Liar, made.Broken, made.Nothing = Rivers, Liar, Broken, object
    monkeypatch.setitem(sys.modules, "rivers", made)


def test_an_installed_recogniser_finds_in_order(module):
    (rivers,) = ner.installed([entry("Rivers")])
    assert [(one.start, one.end) for one in rivers.find("the Elbe and the Rhine")] == [
        (4, 8),
        (17, 22),
    ]


def test_a_span_outside_of_the_text_is_a_fault_and_not_a_mask(module):
    (liar,) = ner.installed([entry("Liar")])
    with pytest.raises(Problem) as raised:
        liar.find("the Rhine")
    assert raised.value.code == "PC7015"


@pytest.mark.parametrize("name", ["Broken", "Nothing", "Missing"])
def test_one_that_cannot_be_made_stops_the_start_and_tells_no_details(module, name):
    with pytest.raises(Problem) as raised:
        ner.installed([entry(name)])
    assert raised.value.code == "PC7015"
    assert "secret-path" not in raised.value.detail


def test_without_any_the_slot_is_empty():
    assert ner.installed([]) == ()
