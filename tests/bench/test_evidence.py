import json

import pytest
from typer.testing import CliRunner

from portcullis import cli


@pytest.mark.slow
def test_what_evidence_costs_is_measured_and_held_against_its_promise():
    done = CliRunner().invoke(
        cli._app("bench"),
        ["bench", "evidence", "--seconds", "1.2", "--rounds", "1", "--json"],
    )
    result = json.loads(done.stdout)
    figures, target = result["figures"], result["targets"]["lost_percent"]
    assert target["met"] == (figures["lost_percent"] <= target["value"] == 5)
    assert min(figures["calls_off_per_s"], figures["calls_on_per_s"]) > 0
    assert figures["fold_entries"] > 0
    assert figures["fold_per_s"] > 10_000
