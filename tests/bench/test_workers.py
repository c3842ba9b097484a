import json

import pytest
from typer.testing import CliRunner

from portcullis import cli


@pytest.mark.slow
def test_one_worker_and_two_are_loaded_in_turns_and_compared():
    words = ("--rounds", "1", "--seconds", "0.3", "--json")
    done = CliRunner().invoke(cli._app("bench"), ["bench", "workers", *words])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    figures = result["figures"]
    one, two = (figures[f"calls_{count}_per_s"] for count in (1, 2))
    assert figures["ratio"] == pytest.approx(two / one, abs=0.001)
    assert (result["targets"]["ratio"]["value"], min(one, two) > 0) == (1, True)
