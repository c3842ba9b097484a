"""The matrix of controls: each test is run by the routes of the cells that it fills."""

from __future__ import annotations

import asyncio
import time

import pytest

from e2e.matrix.deployment import PORTCULLIS, deployed
from e2e.matrix.routes import route_of
from wrappers import wrapper


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _loaded(tmp_path_factory):
    with wrapper(tmp_path_factory.mktemp("wrappers")) as command:
        PORTCULLIS[:] = command
        yield


@pytest.fixture(scope="module")
def limits():
    """The section ``limits`` of the configuration; a module may have its own."""
    return {}


@pytest.fixture(scope="module")
async def deployment(tmp_path_factory, anyio_backend, limits):
    async with deployed(tmp_path_factory.mktemp("matrix"), limits=limits) as made:
        yield made


@pytest.fixture
def route(request, deployment):
    """The route of this cell, with the log as it was before the test."""
    found = route_of(deployment, request.param)
    found.before = {event.id for event in found.events()}
    return found


@pytest.fixture
def recorded(route):
    """Wait for an event of this test with this code; other fields are compared too."""

    async def wait(code: str, **fields: str):
        end, pause = time.monotonic() + 60, 0.02
        while time.monotonic() < end:
            for event in route.events():
                if (
                    event.id not in route.before
                    and event.code == code
                    and all(getattr(event, name) == value for name, value in fields.items())
                ):
                    return event
            await asyncio.sleep(pause)
            pause = min(1.0, pause * 1.3)
        new = [(e.type, e.code) for e in route.events() if e.id not in route.before]
        raise AssertionError(f"no event with {code} {fields} among {new}")

    return wait


@pytest.fixture
def told(route):
    """The events of this test so far."""
    return lambda: [event for event in route.events() if event.id not in route.before]
