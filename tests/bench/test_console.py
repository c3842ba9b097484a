import json

import pytest
from typer.testing import CliRunner

from portcullis import cli


@pytest.mark.slow
def test_what_operators_wait_for_is_measured_and_held_against_its_promises():
    sizes = ("--events", "20000", "--approvals", "2000", "--agents", "100", "--sessions", "100")
    done = CliRunner().invoke(
        cli._app("bench"), ["bench", "console", *sizes, "--repeats", "2", "--json"]
    )
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    figures, targets = result["figures"], result["targets"]
    pages = [name for name in figures if name.startswith(("api_", "html_"))]
    assert len(pages) == 2 * 41
    assert figures["page_p99_ms"] == max(figures[name] for name in pages)
    assert {name: target["value"] for name, target in targets.items()} == {
        "page_p99_ms": 200,
        "live_p50_ms": 50,
    }
    assert figures["live_p50_ms"] > 0
