"""Keys of other issuers: new ones are found, old ones go, nobody can make us ask all the time."""

from __future__ import annotations

import asyncio
import json

import pytest

from issuers import Issuer
from portcullis.core.errors import Problem
from portcullis.execution.keysets import (
    FRESH_SECONDS,
    PAUSE_SECONDS,
    STALE_SECONDS,
    FetchedKeys,
    FileKeys,
    key_source,
)
from portcullis.execution.tls import WebTls
from portcullis.identity.keyset import KeysUnavailableError

pytestmark = pytest.mark.anyio


class Clock:
    time = 1000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class Served:
    """What a fetcher would fetch: a key set, a problem, or nothing for a while."""

    def __init__(self, document: bytes) -> None:
        self.document: bytes | Problem = document
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()

    async def get(self) -> bytes:
        self.asked += 1
        await self.open.wait()
        if isinstance(self.document, Problem):
            raise self.document
        return self.document


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def served(anyio_backend):
    return Served(Issuer().jwks())


@pytest.fixture
def fetched(served, clock):
    return FetchedKeys(served, clock)


def without(document: bytes, kid: str) -> bytes:
    keys = json.loads(document)["keys"]
    return json.dumps({"keys": [key for key in keys if key["kid"] != kid]}).encode()


async def test_a_set_is_fetched_once_for_many_tokens(fetched, served, clock):
    for _ in range(5):
        assert "RS256" in await fetched.keys("RS256")
        await fetched.keys(None)
        clock.time += FRESH_SECONDS / 11
    assert served.asked == 1


async def test_tokens_that_name_unknown_keys_cause_one_request_a_minute(fetched, served, clock):
    for number in range(100):
        assert "RS256" in await fetched.keys(f"forged-{number}")
    assert served.asked == 1
    clock.time += PAUSE_SECONDS
    for number in range(100):
        await fetched.keys(f"forged-{number}")
    assert served.asked == 2


async def test_a_new_key_is_found_when_a_token_first_names_it(fetched, served, clock):
    whole, served.document = served.document, without(served.document, "ES256")
    assert "ES256" not in await fetched.keys("RS256")
    served.document = whole
    clock.time += PAUSE_SECONDS
    assert "ES256" in await fetched.keys("ES256")


async def test_a_withdrawn_key_is_gone_soon_although_tokens_still_name_it(fetched, served, clock):
    await fetched.keys("RS256")
    served.document = without(served.document, "RS256")
    clock.time += FRESH_SECONDS
    assert "RS256" not in await fetched.keys("RS256")


async def test_an_outage_of_the_issuer_locks_nobody_out_for_a_day_and_everybody_after(
    fetched, served, clock
):
    await fetched.keys("RS256")
    served.document = Problem("PC5001", "no connection to the upstream")
    clock.time += STALE_SECONDS
    assert "RS256" in await fetched.keys("RS256")
    clock.time += PAUSE_SECONDS
    with pytest.raises(KeysUnavailableError, match="no connection"):
        await fetched.keys("RS256")


@pytest.mark.parametrize("document", [b"<html>", Problem("PC5003", "the answer has status 503")])
async def test_before_the_first_good_set_nobody_gets_in(fetched, served, document):
    served.document = document
    with pytest.raises(KeysUnavailableError):
        await fetched.keys("RS256")


async def test_a_caller_that_goes_away_does_not_end_the_request_for_others(fetched, served):
    served.open.clear()
    first = asyncio.create_task(fetched.keys("RS256"))
    second = asyncio.create_task(fetched.keys("RS256"))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    served.open.set()
    assert "RS256" in await second
    assert (served.asked, first.cancelled()) == (1, True)


async def test_known_keys_are_used_while_an_unknown_one_is_looked_for(fetched, served, clock):
    await fetched.keys("RS256")
    clock.time += PAUSE_SECONDS
    served.open.clear()
    waiting = asyncio.create_task(fetched.keys("forged"))
    await asyncio.sleep(0)
    assert "RS256" in await asyncio.wait_for(fetched.keys("RS256"), 1)
    served.open.set()
    assert "forged" not in await waiting


async def test_a_file_is_read_again_when_it_changed(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_bytes(Issuer().jwks())
    keys = FileKeys(path)
    first = await keys.keys("RS256")
    assert await keys.keys(None) is first
    path.write_bytes(without(Issuer().jwks(), "RS256"))
    assert set(await keys.keys("RS256")) == {"PS256", "ES256", "EdDSA"}


@pytest.mark.parametrize("content", [b"", b"{}", b" " * 300_000, None], ids=str)
async def test_a_file_that_became_useless_gives_no_keys_not_the_old_ones(tmp_path, content):
    path = tmp_path / "jwks.json"
    path.write_bytes(Issuer().jwks())
    keys = FileKeys(path)
    await keys.keys("RS256")
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(KeysUnavailableError):
            await keys.keys("RS256")


def test_a_reference_is_an_https_address_or_a_file(tmp_path, clock):
    made = key_source("https://127.0.0.1:1/jwks", tls=WebTls(), clock=clock)
    assert isinstance(made, FetchedKeys)
    assert isinstance(key_source(str(tmp_path / "x"), tls=WebTls(), clock=clock), FileKeys)
