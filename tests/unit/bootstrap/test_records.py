"""If this fails, a database that is away for a moment stops a gate that serves, or its upkeep."""

from __future__ import annotations

import threading

import pytest

from portcullis.bootstrap import records as opening
from portcullis.bootstrap.records import records_beside
from portcullis.config import Config
from portcullis.core.errors import Problem

pytestmark = pytest.mark.anyio


async def test_a_store_that_is_away_is_opened_later_and_holds_nothing_up(tmp_path, monkeypatch):
    config = Config(trust_domain="example.test", state=tmp_path)
    real, asked, slept = opening.records, [], []

    def away(found):
        asked.append(threading.current_thread())
        if len(asked) == 1:
            raise Problem("PC7001", "store: it cannot be reached")
        return real(found)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(opening, "records", away)
    async with records_beside(config, "reviews", sleep) as engine:
        assert engine.url.database == str(tmp_path / "portcullis.db")
    assert slept == [60.0]
    assert threading.main_thread() not in asked, "the loop goes on meanwhile"
