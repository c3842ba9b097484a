"""If these fail, a gateway keeps for itself what others need, or leaves what nobody needs."""

import asyncio
import contextlib
import itertools
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from databases import new_database
from needs import needs_redis
from portcullis.audit.keys import DIGESTS, shared_subjects
from portcullis.audit.retention_holds import HoldBook
from portcullis.audit.subjects_erasure import Stores
from portcullis.bootstrap import sharing
from portcullis.config import load
from portcullis.config.places import Role
from portcullis.config.shared import Shared
from portcullis.core.errors import Problem
from portcullis.core.principal import Session
from portcullis.identity.once import LocalOnce
from portcullis.store.once import SharedOnce
from portcullis.store.sessions import LocalSessionState, SharedSessionState
from portcullis.store.vaults import LocalVaults
from portcullis.store.vaults_shared import SharedVaults
from redis_servers import redis_server
from sealers import sealer_at
from shared_processes import Clock

pytestmark = pytest.mark.anyio
NAMES = {"gate": Role.ALONE, "gate-1": Role.GATEWAY, "mcp-x": Role.WRAPPER}
SHARED = {
    Role.ALONE: [],
    Role.GATEWAY: ["claims.db", "once.db", "proposals.db", "vaults.db"],
    Role.WRAPPER: ["vaults.db"],
}
"""What each opens, of what is asked for here."""


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "portcullis.yaml"
    (tmp_path / "policy").mkdir()
    file.write_text("trust_domain: shop.test\nstate: state\npolicy: policy\n", encoding="utf-8")
    found = load(file)
    (found.state / "keys").mkdir(mode=0o700, parents=True)
    return found


@pytest.fixture
def services(config, tmp_path):
    sealer = sealer_at(tmp_path)

    def made(name):
        recorder = SimpleNamespace(commitment=lambda subject, value: f"{name}:{subject}")
        return SimpleNamespace(
            gateway=f"shop.test/{name}", sealer=sealer, clock=Clock(), recorder=recorder
        )

    return made


def test_only_where_there_are_several_is_anything_shared(config, services):
    engine = new_database(config.state / "portcullis.db")
    for name, role in NAMES.items():
        shared = role is Role.GATEWAY
        with contextlib.ExitStack() as stack:
            one = services(name)
            once = sharing.once_of(stack, config, role, one.clock)
            sessions = sharing.sessions_of(stack, config, role, engine, one.clock, one.sealer)
            vaults = sharing.vaults_of(stack, config, one)
            _, here = sharing.conversations_of(stack, config, one, None)
            assert type(once) is (SharedOnce if shared else LocalOnce)
            assert type(vaults) is (LocalVaults if role is Role.ALONE else SharedVaults)
            kind = LocalSessionState if role is Role.ALONE else SharedSessionState
            assert type(sessions) is kind
            assert (here is not None) is shared
            found = sorted(path.name for path in config.state.glob("shared/*.db"))
            assert found == SHARED[role]
    assert not list(config.state.glob("shared/*.db")), "the last takes it away"


@needs_redis
def test_with_a_server_for_several_hosts_nothing_of_it_lies_in_files(config, services, monkeypatch):
    engine = new_database(config.state / "portcullis.db")
    with tempfile.TemporaryDirectory(prefix="pc-") as folder, redis_server(Path(folder)) as url:
        monkeypatch.setenv("SHARED", url)
        config = config.model_copy(update={"shared": Shared(url="env:SHARED")})
        for name, role in NAMES.items():
            with contextlib.ExitStack() as stack:
                one = services(name)
                server = sharing.server_of(stack, config, role, one.clock)
                one.once = sharing.once_of(stack, config, role, one.clock, server)
                parts = (stack, config, role, engine, one.clock, one.sealer, server)
                sessions = sharing.sessions_of(*parts)
                vaults = sharing.vaults_of(stack, config, one)
                called = sharing.called_of(stack, config, one)
                steps = sharing.steps_of(stack, config, one)
                _, here = sharing.conversations_of(stack, config, one, None)
                found = {type(each).__name__ for each in (one.once, vaults, called, steps)}
                if role is Role.GATEWAY:
                    assert found == {"RedisOnce", "RedisVaults", "RedisCalled", "RedisRecent"}
                    assert type(here.claims).__name__ == "RedisClaims"
                    assert type(sessions._shared).__name__ == "RedisProposals"
                    running = [each.name for each in threading.enumerate()]
                    assert running.count("shared-server") == 1
                elif role is Role.WRAPPER:
                    assert type(vaults).__name__ == "RedisVaults"
                else:
                    assert server is None
                    assert all(each.startswith("Local") for each in found)
            assert not (config.state / "shared").exists()
            assert "shared-server" not in {each.name for each in threading.enumerate()}


def test_a_digest_says_the_same_at_every_gateway_and_nothing_of_another_subject(config, services):
    stack = contextlib.ExitStack()
    one, two, alone = (
        sharing.digests_of(stack, config, services(name)) for name in ("gate-1", "gate-2", "gate")
    )
    assert one("user:ada", b"x") == two("user:ada", b"x")
    said = itertools.product(("user:ada", "user:bob", "user:ad"), (b"x", b"ax", b"y"))
    assert len({one(*each) for each in said}) == 9
    assert alone("user:ada", b"x") == "gate:user:ada", "under the subject's own key"
    keys = config.state / "keys"
    sealer = services("gate").sealer
    own = shared_subjects(keys / "gate", sealer)
    stack.callback(own.close)
    stores = Stores(keys, config.state, sealer, "gate", own)
    before = one("user:ada", b"x"), one("user:bob", b"x")
    plan = stores.plan("user:ada", HoldBook(config.state / "log"))
    assert (plan.keys, stores.erase(plan)) == ({DIGESTS: 1}, (1, 0))
    after = two("user:ada", b"x"), two("user:bob", b"x")
    assert (after[0] == before[0], after[1] == before[1]) == (False, True)
    assert after == (one("user:ada", b"x"), one("user:bob", b"x"))
    stack.close()


async def test_what_a_killed_gateway_hid_goes_when_its_session_is_over(
    config, services, monkeypatch
):
    monkeypatch.setattr(sharing, "_SWEEP_SECONDS", 0.01)
    clock, sealer = Clock(), services("gate-1").sealer
    state = SharedSessionState(new_database(config.state / "portcullis.db"), clock, sealer)
    path, now = config.state / "shared" / "vaults.db", time.time()
    killed, vaults = (SharedVaults(path, bytes(32), clock) for _ in range(2))
    session = Session(
        id="open",
        agent="a",
        application="app",
        user="u",
        prompt="p",
        subject={},
        grant=None,
        opened_at=now,
        expires_at=now + 60,
    )
    await state.open(session)
    for name in ("open", "over"):
        killed.vault(name).hide("A", name)
    faults = iter([Problem("PC9002", "locked")])
    ended = state.ended

    async def once_faulty(ids):
        for fault in faults:
            raise fault
        return await ended(ids)

    monkeypatch.setattr(state, "ended", once_faulty)
    task = asyncio.create_task(sharing.sweeping(vaults, state))
    async with asyncio.timeout(5):
        while "over" in await vaults.keys():  # noqa: ASYNC110 - another process forgets
            await asyncio.sleep(0.01)
    assert await vaults.keys() == ("open",)
    task.cancel()
    await asyncio.wait_for(sharing.sweeping(LocalVaults(clock), state), 1)
