"""Fixtures of this folder."""

import pytest

from e2e.control.led import Deployment, running


@pytest.fixture
def deployment(tmp_path, capsys, monkeypatch):
    return Deployment(tmp_path, capsys, monkeypatch)


@pytest.fixture
def gate(deployment):
    with running(deployment) as found:
        yield found
