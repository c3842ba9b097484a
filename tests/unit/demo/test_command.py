"""Without its extra packages the command says what to install, and does nothing else."""

import pytest

from portcullis.cli import demo as command
from portcullis.core.errors import Problem


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "mcp" else name)
    with pytest.raises(Problem) as refused:
        command.demo(once=True, json=False, state=tmp_path / "kept")
    assert refused.value.code == "PC7005"
    assert "mcp" in refused.value.detail
    assert "agent-portcullis[demo]" in refused.value.hint
    assert not (tmp_path / "kept").exists()
