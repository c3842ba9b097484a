"""If these fail, an approver compares with the wrong call, or what was erased is still there."""

import msgspec
import pytest

from databases import each_kind, each_test, new_database  # noqa: F401 - fixtures
from exported import event
from portcullis.audit.log import open_log
from portcullis.audit.retention_holds import HoldBook
from portcullis.audit.subjects_erasure import Stores
from portcullis.core.errors import Problem
from portcullis.store.precedents import MOST_BYTES, SqlPrecedents
from portcullis.store.tables import PRECEDENTS
from sealers import sealer_at

ADA = "user:ada"
MINE = "agent-1", "orders", "search"


class World:
    """A log with its subjects' keys, and what is kept of approved calls."""

    def __init__(self, folder):
        sealer = sealer_at(folder)
        self.log = open_log(
            folder / "log", folder / "keys" / "gate", "example.org/gate", sealer=sealer
        )
        self.engine = new_database(folder / "portcullis.db")
        self.stores = Stores(folder / "keys", folder / "content", sealer, "gate", self.log.subjects)
        self.book = HoldBook(folder / "log")
        self.kept = self.opened()

    def opened(self):
        return SqlPrecedents(self.engine, "gate", self.log.subjects, self.stores)

    def written(self):
        """Wait for what is written on the thread."""
        self.kept.close()
        self.kept = self.opened()

    def rows(self):
        with self.engine.connect() as connection:
            return connection.execute(PRECEDENTS.select()).mappings().all()


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.kept.close()
    made.log.close()
    made.engine.dispose()


def test_the_last_call_of_an_agent_server_and_name_is_kept_and_no_other(world):
    arguments = {"to": "bob@shop.example", "amount": 5}
    world.kept.keep(event(1), ADA, {"to": "eve@shop.example"})
    world.kept.keep(event(2), ADA, arguments)
    world.kept.keep(event(3, principal="agent-2"), ADA, {"q": 1})
    world.written()
    found = world.kept.find(*MINE)
    assert (found.event, found.at, found.arguments) == (
        event(2).id,
        event(2).time.timestamp(),
        arguments,
    )
    assert len(world.rows()) == 2
    assert world.kept.find("agent-1", "orders", "unknown") is None


def test_what_is_kept_is_unreadable_in_the_database_and_bound_to_its_place(world):
    world.kept.keep(event(1), ADA, {"to": "bob@shop.example"})
    world.written()
    (row,) = world.rows()
    assert b"bob@shop.example" not in row["sealed"]
    assert "ada" not in str(row["handle"])
    with world.engine.begin() as connection:
        connection.execute(PRECEDENTS.update().values(agent="agent-2"))
    with pytest.raises(Problem, match="PC6005"):
        world.kept.find("agent-2", "orders", "search")


def test_nothing_old_stands_in_for_what_may_not_be_kept(world):
    world.kept.keep(event(1), ADA, {"q": 1})
    world.kept.pass_by(event(2))
    world.written()
    assert world.kept.find(*MINE) is None
    world.kept.keep(event(3), ADA, {"q": 1})
    world.kept.keep(event(4), ADA, {"q": "x" * MOST_BYTES})
    world.written()
    assert world.rows() == []


def test_a_call_that_did_not_get_on_record_is_taken_back(world):
    world.kept.keep(event(1), ADA, {"q": 1})
    world.kept.drop(event(1).id)
    world.written()
    assert world.rows() == []


def test_with_the_subjects_key_the_arguments_are_gone_and_then_their_row(world):
    world.kept.keep(event(1), ADA, {"q": 1})
    world.kept.keep(event(2, principal="agent-2"), "user:bob", {"q": 2})
    world.written()
    world.stores.erase(world.stores.plan(ADA, world.book))
    assert world.kept.find(*MINE) is None
    world.kept.forget(0.0)
    assert [row["agent"] for row in world.rows()] == ["agent-2"]
    assert world.kept.find("agent-2", "orders", "search").arguments == {"q": 2}


def test_what_is_older_than_its_time_is_destroyed(world):
    world.kept.keep(event(1), ADA, {"q": 1})
    world.written()
    world.kept.forget(event(1).time.timestamp())
    assert len(world.rows()) == 1
    world.kept.forget(event(1).time.timestamp() + 1)
    assert world.rows() == []


def test_what_another_process_kept_is_found_by_the_gate(world, tmp_path):
    sealer = sealer_at(tmp_path)
    keys = tmp_path / "keys" / "mcp-files"
    with open_log(tmp_path / "mcp", keys, "example.org/mcp-files", sealer=sealer) as other:
        there = SqlPrecedents(world.engine, "mcp-files", other.subjects, world.stores)
        there.keep(event(1), ADA, {"q": 7})
        other.append_now(msgspec.structs.replace(event(1), id="0"))  # which flushes new keys
        there.close()
        assert world.kept.find(*MINE).arguments == {"q": 7}
