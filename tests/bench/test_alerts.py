"""If these fail, nobody can hold what is promised about floods against a figure."""

import json

from typer.testing import CliRunner

from portcullis import cli


def test_how_late_an_alert_is_after_a_flood_is_measured():
    words = ["bench", "alerts", "--events", "300", "--json"]
    result = json.loads(CliRunner().invoke(cli._app("bench"), words).stdout)
    figures = result["figures"]
    assert figures["events"] == 300
    assert set(result["targets"]) == {"at_rest_late_ms"}  # the others are about 20 000
    for flood in ("at_rest", "one", "many"):
        assert 0 < figures[f"{flood}_late_ms"] < 20_000
