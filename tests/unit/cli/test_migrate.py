"""If these fail, a deployment that moves its records loses who was cut off, or goes on with two."""

from __future__ import annotations

import contextlib
import json

import anyio
import pytest
import yaml
from sqlalchemy import text
from typer.testing import CliRunner

from portcullis import cli
from portcullis.audit.query import records as recorded_events
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap.foundation import founded
from portcullis.bootstrap.records import records
from portcullis.cli.doctor_finding import Finding
from portcullis.cli.doctor_store import asked, server
from portcullis.cli.migrate import app
from portcullis.config import load
from portcullis.config.places import GATE, audit_directory
from portcullis.core.errors import Problem
from portcullis.core.lifecycle import State
from portcullis.core.ports import PrincipalRecord
from portcullis.core.principal import PrincipalKind
from postgres_servers import needs_postgresql

pytestmark = needs_postgresql
MOVE = ("sqlite-to-postgres", "--json", "--config")


class Deployment:
    def __init__(self, folder, url):
        self.folder, self.file = folder, folder / "portcullis.yaml"
        (folder / "url").write_text(url)
        (folder / "url").chmod(0o600)
        self.said = {"trust_domain": "example.test", "state": str(folder / "state")}
        self.file.write_text(yaml.safe_dump(self.said))

    def turned(self):
        """Have the configuration name the server."""
        self.file.write_text(yaml.safe_dump(self.said | {"store": {"url": "file:url"}}))

    @contextlib.contextmanager
    def services(self):
        with contextlib.ExitStack() as stack:
            yield founded(stack, load(self.file), GATE)

    def move(self, *more):
        return CliRunner().invoke(app, [*MOVE, str(self.file), *more])


@pytest.fixture
def deployment(tmp_path, postgres):
    with postgres.new() as url:
        yield Deployment(tmp_path, url)


def agent(name):
    return PrincipalRecord(
        kind=PrincipalKind.AGENT,
        id=name,
        owner="shop",
        state=State.ACTIVE,
        roles=(),
        created_at=1.0,
    )


def test_who_was_cut_off_is_so_after_the_move_and_the_file_is_out_of_the_way(deployment):
    with deployment.services() as services:
        for name in ("shop-1", "shop-2"):
            services.directory.create(agent(name))
        anyio.run(services.feed.cut, "agent", "shop-1", "leaked")
    deployment.turned()
    done = deployment.move()
    assert done.exit_code == 0, (done.output, done.exception)
    said = json.loads(done.stdout)
    rows = {one["table"]: one["rows"] for one in said["tables"]}
    assert (rows["principals"], rows["cuts"], rows["sessions"]) == (2, 1, 0)
    state = deployment.folder / "state"
    assert not (state / "portcullis.db").exists()
    assert [*state.glob("portcullis.db*")] == [state / said["kept"].rpartition("/")[2]]
    with deployment.services() as services:
        assert [one.id for one in services.directory.list()] == ["shop-1", "shop-2"]
        (cut,) = anyio.run(services.feed.kept)
        assert (cut.value, cut.reason) == ("shop-1", "leaked")
    log = audit_directory(load(deployment.file), GATE)
    methods = [one.event.method for one in recorded_events(log, own_verifier(log))]
    assert [one for one in methods if one.startswith("store.")] == ["store.move", "store.moved"]


def test_nothing_is_moved_onto_records_or_from_or_to_nowhere(deployment):
    with deployment.services() as services:
        services.directory.create(agent("shop-1"))
    assert "PC7004" in str(deployment.move().exception), "the configuration names no server"
    deployment.turned()
    missing = deployment.move("--from", str(deployment.folder / "none.db"))
    assert "PC7005" in str(missing.exception)
    with deployment.services() as services:
        services.directory.create(agent("newer"))
    refused = deployment.move()
    assert isinstance(refused.exception, Problem)
    assert "PC7001" in str(refused.exception)
    assert "holds records already, in principals" in str(refused.exception)
    assert (deployment.folder / "state/portcullis.db").exists()


def test_while_one_process_rules_a_database_another_one_does_not(deployment, tmp_path):
    deployment.turned()
    elsewhere = deployment.folder / "elsewhere.yaml"
    said = yaml.safe_load(deployment.file.read_text()) | {"state": str(tmp_path / "other")}
    elsewhere.write_text(yaml.safe_dump(said))
    with (
        deployment.services(),
        contextlib.ExitStack() as stack,
        pytest.raises(Problem, match=r"PC6003.*this database"),
    ):
        founded(stack, load(elsewhere), GATE)
    with contextlib.ExitStack() as stack:
        founded(stack, load(elsewhere), GATE)


def test_doctor_says_whether_the_server_can_be_used_and_no_password(deployment, postgres):
    deployment.turned()
    config = load(deployment.file)
    assert server(config) == Finding("database", ok=True, found="PostgreSQL")
    assert asked(config, "SELECT count(*) FROM cuts") == [(0,)]
    (deployment.folder / "url").write_text(postgres.url(postgres.make()))
    new = server(config)
    assert (new.ok, "has a gate been started on it?" in new.found) == (False, True)
    (deployment.folder / "url").write_text("postgresql://shop:pa55word@/records?host=/nowhere")
    gone = server(config)
    assert not gone.ok
    assert "pa55word" not in repr(gone)
    (deployment.folder / "url").write_text("https://shop:pa55word@example.org/records")
    odd = server(config)
    assert "no address of PostgreSQL" in odd.found
    assert "pa55word" not in repr(odd)


def test_a_fault_of_the_server_is_told_as_one_and_without_values(deployment, capsys, monkeypatch):
    deployment.turned()

    def failing():
        with records(load(deployment.file)).connect() as connection:
            connection.execute(text("SELECT CAST(:said AS integer)"), {"said": "C-1001"})

    monkeypatch.setattr("sys.argv", ["portcullis", "doctor"])
    monkeypatch.setattr(cli, "_app", lambda _: failing)
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr().err
    assert "PC7005" in said
    assert "the database cannot be used: InvalidTextRepresentation 22P02" in said
    assert "C-1001" not in said
