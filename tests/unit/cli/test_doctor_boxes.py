"""If these fail, whoever cannot have a box is sent to look for what is not missing."""

from portcullis.cli import doctor_boxes
from portcullis.config import Config
from portcullis.core.sandbox import STRICT, Ability, Hold

_GROUPS = {Hold.MEMORY, Hold.CPU, Hold.PIDS}


def told(monkeypatch, enforces, why, **profile):
    """What is found of one server's box, and what to do."""
    ability = Ability(
        adapter="bubblewrap",
        version="0.8.0" if enforces else "",
        enforces=frozenset(enforces),
        lacking=dict.fromkeys(frozenset(Hold) - frozenset(enforces), why),
    )

    class Machine:
        def probe(self):
            return ability

    monkeypatch.setattr(doctor_boxes, "adapter", lambda *_: Machine())
    config = Config(
        trust_domain="a.example",
        mcp={"notes": {"command": ["cat"], "sandbox": "own"}},
        sandbox={"profiles": {"own": profile}},
    )
    [found] = doctor_boxes.boxes(config)
    assert not found.ok
    return found.found, found.do


def test_what_is_missing_is_said_once_and_what_to_do_fits_it(monkeypatch):
    found, do = told(monkeypatch, (), "bubblewrap is not installed")
    assert found.count("bubblewrap is not installed") == 1
    assert "apt-get install bubblewrap" in do
    found, do = told(monkeypatch, STRICT - _GROUPS, "no right to make a control group")
    assert found == "cpu, memory, pids: no right to make a control group"
    assert "Delegate=yes" in do
    found, do = told(monkeypatch, STRICT, "it shares our kernel", demands=["kernel"])
    assert found == "kernel: it shares our kernel"
    assert "sandbox.adapter" in do
