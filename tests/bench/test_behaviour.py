"""If these fail, nobody can hold what is promised about behaviour against recorded weeks."""

import json

import pytest
from typer.testing import CliRunner

import behaviour_weeks
from portcullis import cli
from portcullis.bench.behaviour import replay
from portcullis.core.errors import Problem


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weeks")
    behaviour_weeks.write(folder, 6, 4, learn=10, test=4, share=0.7)
    return folder


def run(folder, *more):
    return CliRunner().invoke(
        cli._app("bench"), ["bench", "behaviour", "--data", str(folder), *more]
    )


def test_what_is_noticed_in_recorded_weeks_is_held_against_its_promises(recorded):
    done = run(recorded, "--json")
    result = json.loads(done.stdout)
    figures, targets = result["figures"], result["targets"]
    assert set(targets) == {"detection_rate", "false_alerts_per_agent_week", "event_us"}
    assert figures["misbehaviours"] >= 2
    assert figures["detection_rate"] >= 0.5
    assert figures["false_alerts_per_agent_week"] <= 0.5
    assert targets["detection_rate"]["met"] == (figures["detection_rate"] >= 0.9)
    labels = json.loads((recorded / "labels.json").read_text())
    kinds = {one["kind"].replace("-", "_") for one in labels}
    assert {name for name in figures if name.startswith("detected_")} == {
        f"detected_{kind}" for kind in kinds
    }


def test_alerts_outside_of_what_was_injected_are_false(recorded, tmp_path):
    for path in recorded.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "labels.json").write_text("[]")
    done = replay(tmp_path, lambda _: None)
    assert done.alerts
    assert done.false == done.alerts


def test_a_corpus_that_was_changed_is_not_measured(recorded, tmp_path):
    for path in recorded.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "events-0001.jsonl").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(Problem, match="PC7004"):
        replay(tmp_path, lambda _: None)
    with pytest.raises(Problem, match="PC7004"):
        replay(tmp_path / "none", lambda _: None)
