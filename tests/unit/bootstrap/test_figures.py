"""If these fail, an operator sees the figures of one process and takes them for all."""

import asyncio
import os
import time

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from portcullis.bootstrap.figures import OLD_SECONDS, showing, together
from portcullis.config import Config
from portcullis.config.places import gateway_figures

pytestmark = pytest.mark.anyio


def registry(calls):
    made = CollectorRegistry()
    Counter("calls", "Calls.", ["route"], registry=made).labels("llm").inc(calls)
    Gauge("open", "Open.", registry=made).set(calls)
    Histogram("took", "Took.", registry=made).observe(calls)
    return made


def values(page, name):
    return {
        tuple(sample.labels.get(key) for key in ("gateway", "route")): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
        if sample.name == name
    }


async def test_each_process_has_its_own_line_in_one_family(tmp_path):
    config = Config(trust_domain="example.org", state=tmp_path / "state")
    (config.state / "gateways").mkdir(parents=True)
    async with showing(config, "gate-1", registry(3)), showing(config, "gate-2", registry(5)):
        places = [gateway_figures(config, name) for name in ("gate-1", "gate-2")]
        for _ in range(500):
            if all(place.exists() for place in places):
                break
            await asyncio.sleep(0.002)
        page = await together(config, registry(0))
        assert values(page, "calls_total") == {
            ("control", "llm"): 0, ("gate-1", "llm"): 3, ("gate-2", "llm"): 5
        }  # fmt: skip
        assert page.count(b"# TYPE calls_total counter") == 1
        assert values(page, "took_count")["gate-2", None] == 1
        old = time.time() - OLD_SECONDS - 1
        os.utime(places[0], (old, old))
        page = await together(config, registry(0))
        assert ("gate-1", None) not in values(page, "open")
        missing = {("gate-1", None): 1, ("gate-2", None): 0}
        assert values(page, "portcullis_gateway_missing") == missing
    assert not any(place.exists() for place in places)
    page = await together(config, registry(0))
    assert not values(page, "portcullis_gateway_missing"), "who was to end is not missed"


async def test_a_page_that_others_could_have_written_does_not_count(tmp_path):
    config = Config(trust_domain="example.org", state=tmp_path / "state")
    place = gateway_figures(config, "gate-1")
    place.parent.mkdir(parents=True)
    place.write_text("open 7\n")
    place.chmod(0o666)
    assert values(await together(config, registry(1)), "open") == {("control", None): 1}
