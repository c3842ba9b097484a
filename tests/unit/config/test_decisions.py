"""If these fail, an opinion is asked for in clear, or a mistake about who may ask is found late."""

import pytest
import yaml

from portcullis.config import load
from portcullis.core.errors import Problem

OPA = "https://opa.example/v1/data/agents/allow"


def loaded(folder, **decisions):
    path = folder / "portcullis.yaml"
    path.write_text(yaml.safe_dump({"trust_domain": "example.org", "decisions": decisions}))
    return load(path).decisions


def test_nobody_asks_and_nobody_is_asked_unless_it_says_so(tmp_path):
    found = loaded(tmp_path)
    assert (found.askers, found.peers, found.opinions) == ((), (), {})
    assert load(tmp_path / "portcullis.yaml").listen.decisions is None


def test_files_lie_beside_the_configuration(tmp_path):
    opinion = {"opa": OPA, "authorities": "ca.pem", "credential": "file:token"}
    found = loaded(tmp_path, opinions={"company": opinion}).opinions["company"]
    assert found.authorities == tmp_path / "ca.pem"
    assert found.credential == f"file:{tmp_path / 'token'}"
    assert found.actions == ("tool", "model", "resource", "prompt", "egress")


@pytest.mark.parametrize(
    "decisions",
    [
        {"opinions": {"a": {}}},
        {"opinions": {"a": {"opa": OPA, "authzen": OPA}}},
        {"opinions": {"a": {"opa": "http://opa.example/v1/data/x"}}},
        {"opinions": {"a": {"opa": OPA, "actions": []}}},
        {"opinions": {"a": {"opa": OPA, "actions": ["list"]}}},
        {"opinions": {"a": {"opa": OPA, "seconds": 0}}},
        {"opinions": {"a": {"opa": OPA, "credential": "secret-itself"}}},
        {"peers": ["sidecar"]},
        {"askers": ["Not A Name"]},
        {"header": "X-Agent"},
        {"seconds": 0},
    ],
    ids=lambda one: str(min(one)),
)
def test_what_makes_no_sense_or_is_not_safe_does_not_load(tmp_path, decisions):
    with pytest.raises(Problem) as problem:
        loaded(tmp_path, **decisions)
    assert problem.value.code == "PC7001"
