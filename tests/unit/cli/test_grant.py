"""If these fail, whoever asks for grants where none can be is told of a route."""

from types import SimpleNamespace

import pytest

from portcullis.cli import grant
from portcullis.core.errors import Problem


def test_a_gate_whose_upstreams_take_no_tokens_is_said_to_be_one(monkeypatch, tmp_path):
    def call(*_):
        raise Problem("PC1010", "the API has no such route")

    minted = SimpleNamespace(mint=lambda *_, **__: SimpleNamespace(token=""))
    monkeypatch.setattr(grant, "load", lambda _: None)
    monkeypatch.setattr(grant, "running_gate", lambda _: SimpleNamespace(control="http://a"))
    monkeypatch.setattr(grant, "authority_of", lambda _: minted)
    monkeypatch.setattr(grant, "call", call)
    with pytest.raises(Problem, match="no upstream of the gate takes tokens"):
        grant.list_grants(config=tmp_path / "portcullis.yaml")
