"""If these fail, breakers are off where nobody said so, or settings that contradict pass."""

import pytest
from pydantic import ValidationError

from portcullis.config import Breakers, Quarantine


def test_breakers_are_on_by_default_and_quarantine_waits_for_the_highest_risk():
    found = Breakers()
    assert found.agent.enabled
    assert found.upstream.enabled
    assert (found.agent.denials, found.agent.cost) == (120, 50)
    assert Quarantine().at == "critical"


@pytest.mark.parametrize(
    "said",
    [
        {"upstream": {"open_seconds": 60, "longest_seconds": 30}},
        {"upstream": {"errors": 0}},
        {"agent": {"errors": 1.5}},
        {"agent": {"denials": 0}},
        {"agent": {"slow": 0.5}},
        {"upstream": {"window_seconds": 0}},
        {"agents": {}},
    ],
    ids=lambda said: str(next(iter(said.values())) or next(iter(said))),
)
def test_what_cannot_be_meant_is_refused(said):
    with pytest.raises(ValidationError):
        Breakers.model_validate(said)


def test_measures_of_an_agent_can_be_switched_off_one_by_one():
    found = Breakers.model_validate({"agent": {"denials": None, "errors": None, "cost": None}})
    assert found.agent.denials is found.agent.errors is found.agent.cost is None
