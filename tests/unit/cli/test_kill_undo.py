"""If this fails, somebody believes that a kill was taken back which stands."""

import contextlib

import pytest

from portcullis.cli import kill
from portcullis.config import Config
from portcullis.core.errors import Problem


def test_a_kill_that_nothing_can_take_back_now_is_said_to_stand(tmp_path, monkeypatch):
    @contextlib.contextmanager
    def away(config):
        del config
        raise Problem("PC9002", "the database is away", hint="See to it.")
        yield

    kept = []
    monkeypatch.setattr(kill, "operations", away)
    monkeypatch.setattr(kill, "signed_order", lambda *words: words)
    monkeypatch.setattr(kill, "kept_order", lambda *words: kept.append(words))
    config = Config(trust_domain="example.org", state=tmp_path / "state")
    with pytest.raises(Problem, match="PC9002") as caught:
        kill._ordered(config, "over", undo=True)
    assert caught.value.hint.startswith("The kill stands: start the control plane")
    assert caught.value.hint.endswith("See to it.")
    assert not kept
    assert not kill._ordered(config, "now", undo=False).recorded
    assert len(kept) == 1, "whatever starts next obeys it"
