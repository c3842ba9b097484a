"""The stand-ins for a gate: all of it, with and without TLS, and the guard API alone."""

import secrets

import pytest

from client_gate import StandIn, authority_at, server_context, serving
from guard_api import standing_in
from portcullis.client.guard import Guard


@pytest.fixture
def authority(tmp_path):
    return authority_at(tmp_path / "ca")


@pytest.fixture
async def gate(authority):
    stand_in = StandIn(authority)
    context = server_context(authority)
    async with serving(stand_in.handle, context) as url, serving(stand_in.handle) as plain:
        stand_in.url, stand_in.plain = url, plain
        yield stand_in


@pytest.fixture
def join_token(gate):
    token = secrets.token_urlsafe(32)
    gate.join_tokens.add(token)
    return token


@pytest.fixture
def api():
    with standing_in() as made:
        yield made


@pytest.fixture
def guard(api):
    with Guard(toolset="shop", url=api.url) as made:
        yield made
