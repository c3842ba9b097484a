import json

import pytest
from typer.testing import CliRunner

from portcullis import cli
from portcullis.bench.limits import jain


@pytest.mark.slow
def test_many_clients_spend_no_more_than_a_budget_and_share_it():
    sizes = ("--clients", "16", "--calls", "200", "--gateways", "2", "--overhead-calls", "500")
    done = CliRunner().invoke(cli._app("bench"), ["bench", "limits", *sizes, "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    figures, targets = result["figures"], result["targets"]
    vias = [via for via in ("memory", "sqlite", "redis") if f"{via}_clients" in figures]
    assert vias[:2] == ["memory", "sqlite"]
    for via in vias:
        assert figures[f"{via}_clients"] == 16
        assert figures[f"{via}_overspent_micros"] <= figures[f"{via}_difference_micros"]
        assert targets[f"{via}_overspent_micros"]["value"] == 50_000
        assert targets[f"{via}_overspent_micros"]["met"]
        assert targets[f"{via}_miscounted_micros"]["met"]
        assert figures[f"{via}_used_percent"] > 80
    assert targets["memory_overhead_us"]["value"] == 20


@pytest.mark.slow
def test_a_gateway_that_is_killed_takes_no_money_with_it_and_gives_none_away():
    sizes = ("--via", "redis", "--gateways", "3", "--clients", "24", "--calls", "300")
    done = CliRunner().invoke(cli._app("bench"), ["bench", "limits", *sizes, "--kill", "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    figures, targets = result["figures"], result["targets"]
    for name in ("overspent_micros", "lost_micros", "doubled_micros", "places_held"):
        assert targets[f"redis_{name}"]["met"], figures
    assert targets["redis_overspent_micros"]["value"] == 50_000
    assert figures["redis_broken_calls"] > 0
    assert figures["redis_used_percent"] > 90


def test_a_kill_of_the_only_gateway_measures_nothing():
    words = ["bench", "limits", "--via", "sqlite", "--gateways", "1", "--kill"]
    assert CliRunner().invoke(cli._app("bench"), words).exception.code == "PC7004"


def test_jains_index_is_one_when_all_have_the_same():
    assert jain([3, 3, 3]) == pytest.approx(1)
    assert jain([9, 0, 0]) == pytest.approx(1 / 3)
    assert jain([0, 0]) == 0
