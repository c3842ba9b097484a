"""Fixtures of this folder."""

from types import SimpleNamespace

import pytest

from e2e.control.led import Deployment, configured, running


@pytest.fixture
def deployment(tmp_path, capsys, monkeypatch):
    return Deployment(tmp_path, capsys, monkeypatch)


@pytest.fixture
def gate(deployment):
    with running(deployment) as found:
        yield found


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    folder = tmp_path_factory.mktemp("house")
    configured(folder, "shop-1", "shop-2", "shop-3")
    place = SimpleNamespace(folder=folder, state=folder / "portcullis-state")
    with running(place) as found:
        yield folder, found


@pytest.fixture
def served(house, capsys, monkeypatch):
    """A deployment and its running gate, which the tests of a module share."""
    folder, found = house
    return Deployment(folder, capsys, monkeypatch), found
