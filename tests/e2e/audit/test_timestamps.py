"""Who trusts a timestamp authority knows that the log's entries existed when it says."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit_logs import Log
from portcullis.audit.stamper import Stamper
from portcullis.audit.timestamps import FOLDER, check_timestamps, load_roots, verify_response
from portcullis.audit.web import Web
from portcullis.cli.audit import app
from portcullis.core.errors import Problem
from tsa import Authority, authority

OVERDUE = "audit.timestamp.overdue"


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with authority(tmp_path_factory.mktemp("tsa") / "it") as running:
        yield running


@pytest.fixture
def tsa(shared: Authority) -> Authority:
    shared.spoil = lambda response: (200, response)
    return shared


@pytest.fixture
def log(tmp_path: Path) -> Log:
    made = Log(tmp_path)
    made.grow(300)
    return made


@pytest.fixture
def said() -> list[tuple[str, dict[str, str]]]:
    return []


def stamper(log: Log, tsa: Authority, said: list, clock: Clock | None = None, **other) -> Stamper:
    return Stamper(
        "near",
        other.get("url", tsa.url),
        load_roots(other.get("roots", tsa.roots)),
        log.directory,
        log.verifier,
        web=Web("PC6022", seconds=other.get("seconds", 5)),
        clock=clock or Clock(),
        notice=lambda method, parameters: said.append((method, parameters)),
        overdue_seconds=60,
    )


def verify(log: Log, roots: Path) -> tuple[int, dict]:
    """What the command says: exit code and JSON."""
    done = CliRunner().invoke(app, ["verify", str(log.directory), "--tsa", str(roots), "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_what_is_stored_satisfies_openssl_and_the_command(log, tsa, said) -> None:
    before = datetime.now(UTC)
    keeper = stamper(log, tsa, said)
    keeper.step()
    log.grow(5)
    keeper.step()
    for size in (300, 305):
        stored = log.directory / FOLDER / f"{size:019d}-near.tsr"
        assert tsa.verified(stored, stored.with_suffix(".checkpoint"))
        assert not tsa.verified(stored, log.directory / "log.vkey")
    code, found = verify(log, tsa.roots)
    assert code == 0
    assert [(one["size"], one["authority"], one["reason"]) for one in found["timestamps"]] == [
        (300, "near", ""),
        (305, "near", ""),
    ]
    assert found["existed"]["size"] == 305
    said_at = datetime.fromisoformat(found["existed"]["before"])
    assert abs((said_at - before).total_seconds()) < 60
    assert not said


def test_one_checkpoint_is_stamped_once_also_after_a_restart(log, tsa, said) -> None:
    seen = tsa.seen
    for _ in range(3):
        stamper(log, tsa, said).step()
    assert tsa.seen == seen + 1


@pytest.mark.parametrize("what", ["other", "garbage", "error", "long", "slow", "refused"])
def test_what_does_not_verify_is_not_stored_and_is_noticed_when_overdue(
    log, tsa, said, what
) -> None:
    clock = Clock()
    other = tsa.reply  # a good token, over something else
    query = tsa.folder / "other.tsq"
    subprocess.run(
        ["openssl", "ts", "-query", "-digest", "00" * 32, "-sha256", "-cert", "-out", query],
        check=True,
        capture_output=True,
    )
    tsa.spoil = {
        "other": lambda _: (200, other(query.read_bytes())),
        "garbage": lambda response: (200, response[:-9] + b"\0" * 9),
        "error": lambda response: (503, response),
        "long": lambda response: (200, response + b"\0" * 2**17),
        "slow": lambda response: time.sleep(0.6) or (200, response),
        "refused": lambda _: (200, bytes.fromhex("30053003020102")),
    }[what]
    keeper = stamper(log, tsa, said, clock, seconds=0.3 if what == "slow" else 5)
    with pytest.raises(Problem) as raised:
        keeper.step()
    keeper.failed(raised.value)
    assert raised.value.code == "PC6022"
    assert not (log.directory / FOLDER).exists()
    clock.ahead = 100
    for _ in range(2):
        keeper.watch()
    assert [(method, one["state"]) for method, one in said] == [(OVERDUE, "raised")]
    assert keeper.age() >= 100
    tsa.spoil = lambda response: (200, response)
    keeper.step()
    assert [one["state"] for _, one in said] == ["raised", "cleared"]
    assert keeper.age() < 50


def test_an_authority_that_is_not_the_configured_one_is_refused(log, tsa, said, tmp_path) -> None:
    with authority(tmp_path / "other") as other, pytest.raises(Problem, match="PC6022"):
        stamper(log, tsa, said, url=other.url).step()


def test_a_response_that_was_damaged_is_refused_whatever_the_damage(tsa, tmp_path) -> None:
    note, roots = tmp_path / "note", load_roots(tsa.roots)
    note.write_bytes(b"what is stamped")
    query = tsa.folder / "own.tsq"
    make = ["openssl", "ts", "-query", "-data", note, "-sha256", "-cert", "-out", query]
    subprocess.run(make, check=True, capture_output=True)
    good = tsa.reply(query.read_bytes())
    time = verify_response(good, note.read_bytes(), roots)
    chance = random.Random(3161)
    for _ in range(400):
        damaged = bytearray(good)
        damaged[chance.randrange(len(good))] ^= 1 << chance.randrange(8)
        try:
            assert verify_response(bytes(damaged), note.read_bytes(), roots) == time
        except Problem as problem:
            assert problem.code == "PC6022"  # noqa: PT017 - either the same or refused


def test_a_token_shows_a_log_that_was_rewritten_with_its_own_key(log, tsa, said, tmp_path) -> None:
    stamper(log, tsa, said).step()
    kept = tmp_path / "stamps"
    shutil.copytree(log.directory / FOLDER, kept)
    log.begin_anew()
    log.grow(400, "another history")
    shutil.copytree(kept, log.directory / FOLDER)
    code, found = verify(log, tsa.roots)
    assert found["integrity"] == "passed"
    assert "not those that it is over" in found["timestamps"][0]["reason"]
    assert code == 5


def test_a_token_shows_a_log_that_was_shortened(log, tsa, said, tmp_path) -> None:
    earlier = tmp_path / "earlier"
    shutil.copytree(log.directory, earlier)
    log.grow(50, "b")
    stamper(log, tsa, said).step()
    shutil.copytree(log.directory / FOLDER, earlier / FOLDER)
    shutil.rmtree(log.directory)
    earlier.rename(log.directory)
    code, found = verify(log, tsa.roots)
    assert found["integrity"] == "passed"
    assert "has 300 entries, not 350" in found["timestamps"][0]["reason"]
    assert code == 5


@pytest.mark.parametrize("left", ["folder", "checkpoints", "nothing"])
def test_timestamps_that_were_asked_for_and_are_not_there_fail_the_verification(
    log, tsa, said, left
) -> None:
    stamper(log, tsa, said).step()
    assert verify(log, tsa.roots)[0] == 0
    folder = log.directory / FOLDER
    for path in folder.iterdir():
        if left != "checkpoints" or path.suffix == ".tsr":
            path.unlink()
    if left == "nothing":
        folder.rmdir()
    code, found = verify(log, tsa.roots)
    assert (code, found["ok"]) == (5, False)
    assert (found["timestamps"], found["existed"]) == ([], None)
    assert found["integrity"] == "passed"
    assert any("there are no timestamps" in reason for reason in found["reasons"])
    shown = CliRunner().invoke(app, ["verify", str(log.directory), "--tsa", str(tsa.roots)])
    assert shown.exit_code == 5
    assert shown.stdout.startswith("FAILED")
    assert "there are no timestamps" in shown.stdout
    assert CliRunner().invoke(app, ["verify", str(log.directory)]).exit_code == 0


def test_what_is_printed_of_a_bad_token_is_that_the_verification_failed(log, tsa, said) -> None:
    stamper(log, tsa, said).step()
    (token,) = (log.directory / FOLDER).glob("*.tsr")
    token.write_bytes(token.read_bytes()[:-9] + b"\0" * 9)
    code, found = verify(log, tsa.roots)
    assert (code, found["ok"]) == (5, False)
    shown = CliRunner().invoke(app, ["verify", str(log.directory), "--tsa", str(tsa.roots)])
    assert shown.exit_code == 5
    assert shown.stdout.startswith("FAILED")
    assert "timestamp 300-near: " in shown.stdout


def test_timestamps_cannot_be_asked_for_where_they_cannot_be_found(log, tsa) -> None:
    command = ["verify", "http://127.0.0.1:9/log", "--key", str(log.verifier)]
    asked = CliRunner().invoke(app, [*command, "--tsa", str(tsa.roots)])
    assert isinstance(asked.exception, Problem)
    assert asked.exception.code == "PC7004"


def test_a_token_or_its_checkpoint_that_was_exchanged_is_told(log, tsa, said) -> None:
    keeper = stamper(log, tsa, said)
    keeper.step()
    log.grow(5)
    keeper.step()
    folder = log.directory / FOLDER
    first, second = sorted(folder.glob("*.tsr"))
    swapped = first.read_bytes(), second.read_bytes()
    second.write_bytes(swapped[0])
    first.write_bytes(swapped[1])
    found = check_timestamps(log.directory, log.verifier, load_roots(tsa.roots), lambda _: b"")
    assert all("does not verify" in one.reason for one in found)
    first.with_suffix(".checkpoint").unlink()
    found = check_timestamps(log.directory, log.verifier, load_roots(tsa.roots), lambda _: b"")
    assert "No such file" in found[0].reason


def test_roots_that_are_none_are_a_configuration_error(tmp_path) -> None:
    for content in (b"", b"x"):
        (tmp_path / "roots.pem").write_bytes(content)
        with pytest.raises(Problem, match="PC7001"):
            load_roots(tmp_path / "roots.pem")
    with pytest.raises(Problem, match="PC7001"):
        load_roots(tmp_path / "none.pem")
