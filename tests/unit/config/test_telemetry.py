"""If these fail, spans leave in clear, or a secret stands in the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from portcullis.config import Config, load
from portcullis.config.guarded import own_secrets
from portcullis.core.errors import Problem

ENDPOINT = "https://collector.example.com/v1/traces"


def loaded(folder: Path, **traces: Any) -> Config:
    path = folder / "portcullis.yaml"
    sections = {"trust_domain": "example.org", "telemetry": {"traces": traces or None}}
    path.write_text(yaml.safe_dump(sections))
    return load(path)


def test_nothing_is_traced_unless_somebody_says_where_to(tmp_path: Path) -> None:
    assert loaded(tmp_path).telemetry.traces is None
    assert loaded(tmp_path, endpoint=ENDPOINT).telemetry.traces.ratio == 0.01


def test_files_lie_beside_the_configuration_and_secrets_are_known(tmp_path: Path) -> None:
    config = loaded(tmp_path, endpoint=ENDPOINT, ca="ca.pem", headers={"x-api-key": "file:key"})
    traces = config.telemetry.traces
    assert traces.ca == tmp_path / "ca.pem"
    assert traces.headers == {"x-api-key": f"file:{tmp_path / 'key'}"}
    assert list(own_secrets(config)) == [(traces.headers["x-api-key"], "telemetry.traces")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "http://collector.example.com/v1/traces"},
        {"endpoint": ENDPOINT, "headers": {"x-api-key": "the key itself"}},
        {"endpoint": ENDPOINT, "headers": {"x: y": "env:X"}},
        {"endpoint": ENDPOINT, "ratio": 1.5},
        {"endpoint": ENDPOINT, "queue": 1},
    ],
    ids=["in-clear", "by-value", "no-header", "ratio", "queue"],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(Problem) as caught:
        loaded(tmp_path, **wrong)
    assert caught.value.code == "PC7001"


def test_figures_are_for_operators_unless_somebody_names_a_token(tmp_path: Path) -> None:
    assert loaded(tmp_path).telemetry.metrics is None
    path = tmp_path / "portcullis.yaml"
    named = {"trust_domain": "example.org", "telemetry": {"metrics": {"token": "file:scrape"}}}
    path.write_text(yaml.safe_dump(named))
    config = load(path)
    assert config.telemetry.metrics.token == f"file:{tmp_path / 'scrape'}"
    assert list(own_secrets(config)) == [(config.telemetry.metrics.token, "telemetry.metrics")]
    named["telemetry"] = {"metrics": {"token": "the token itself"}}
    path.write_text(yaml.safe_dump(named))
    with pytest.raises(Problem, match="PC7001"):
        load(path)
