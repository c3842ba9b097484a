"""If these fail, a gateway signs under a key that was retired, trusts what is trusted no more, or
changes what only the control plane may change."""

import asyncio
import contextlib
import hashlib

import pytest

from authorities import AGENT, DOMAIN, leaf_key
from portcullis.config.identity import Identity
from portcullis.core.errors import Problem
from portcullis.identity import following
from portcullis.identity.following import follow_authority
from portcullis.identity.sealing import Envelope

pytestmark = pytest.mark.anyio


def follow(world, domain=DOMAIN, **more):
    return follow_authority(
        world.directory,
        trust_domain=domain,
        settings=Identity(),
        sealer=Envelope(world.keys),
        clock=world.clock,
        new_id=world.new_id,
        **more,
    )


def content(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_there_is_nothing_to_follow_before_there_is_an_authority(world):
    with pytest.raises(Problem, match="PC7008"):
        follow(world)
    assert not world.directory.exists()


def test_it_issues_what_the_authority_would_and_writes_nothing(world):
    kept = world.open()
    before = content(world.directory)
    follower = follow(world)
    assert follower.bundle().same_keys(kept.bundle())
    svid = follower.issue(AGENT, leaf_key().public_key())
    assert svid.chain[1] == kept.issue(AGENT, leaf_key().public_key()).chain[1]
    assert follower.sign_jwt(AGENT, ["somebody"]).token
    assert content(world.directory) == before
    assert not {"rotate", "retire", "maintain", "reseal"} & set(dir(follower))


def test_another_domains_authority_is_not_followed(world):
    world.open()
    with pytest.raises(Problem, match="PC7008"):
        follow(world, "example.com")


def test_a_change_is_taken_over_and_told_once(world):
    kept, told = world.open(), []
    follower = follow(world)
    follower.subscribe(lambda: told.append(follower.bundle().sequence))
    assert not follower.look()
    kept.rotate("root")
    kept.retire("root")
    assert follower.look()
    assert not follower.look()
    assert told == [kept.bundle().sequence]
    assert follower.bundle().x509 == kept.bundle().x509
    signed = follower.issue(AGENT, leaf_key().public_key()).chain[1]
    assert signed == kept.issue(AGENT, leaf_key().public_key()).chain[1]


def test_while_its_files_cannot_be_read_it_goes_on_briefly_and_then_trusts_nobody(world):
    world.open()
    follower, told = follow(world), []
    follower.subscribe(lambda: told.append(len(follower.bundle().x509)))
    (world.directory / "state.json").chmod(0o644)  # others could have written it
    with pytest.raises(Problem):
        follower.look()
    assert follower.bundle().x509
    world.clock.at += following.DOUBT_SECONDS + 1
    for _ in range(2):
        with pytest.raises(Problem):
            follower.look()
    assert (follower.bundle().x509, dict(follower.bundle().jwt), told) == ((), {}, [0])
    (world.directory / "state.json").chmod(0o600)
    assert follower.look()
    assert told == [0, 1]


def test_while_its_files_are_copies_that_may_be_old_it_goes_on_briefly_and_trusts_nobody(world):
    world.open()
    doubts = [True]
    follower = follow(world, doubted=lambda: doubts[-1])
    with pytest.raises(Problem):
        follower.look()
    assert follower.bundle().x509
    world.clock.at += following.DOUBT_SECONDS + 1
    with pytest.raises(Problem):
        follower.look()
    assert not follower.bundle().x509
    doubts.append(False)
    assert follower.look()
    assert follower.bundle().x509


async def test_it_looks_by_itself(world):
    kept = world.open()
    follower = follow(world)
    looking = asyncio.create_task(follower.run(0.005))
    kept.rotate("jwt")
    async with asyncio.timeout(5):
        while follower.bundle().sequence != kept.bundle().sequence:  # noqa: ASYNC110 - files
            await asyncio.sleep(0.002)
    looking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await looking
