"""The audit commands as a user types them: output, errors and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from portcullis.audit.checkpoint import Checkpoint
from portcullis.audit.log import open_log
from portcullis.audit.merkle import leaf_hash
from portcullis.audit.note import Signer, encode64
from portcullis.bootstrap.witness import gate_around
from portcullis.cli.audit import app
from portcullis.core.errors import Problem
from portcullis.core.event import Event, EventType
from sealers import sealer_at

ORIGIN = "example.org/gate"


def make(number: int, **fields: Any) -> Event:
    given = {"type": EventType.TOOL_CALL, "verdict": "allow", "server": "crm", "name": "find"}
    return Event(
        v=1,
        id=f"event-{number}",
        time=datetime(2030, 1, 1, 0, 0, number, tzinfo=UTC),
        gateway="gw",
        **{**given, **fields},
    )


def audit(*arguments: str) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    with open_log(
        tmp_path / "state/log", tmp_path / "keys", ORIGIN, sealer=sealer_at(tmp_path)
    ) as log:
        log.append_now(make(0))
        log.append_now(make(1, type=EventType.TOOL_RESULT, decision="event-0", verdict=""))
        log.append_now(make(2, verdict="deny", code="PC3001", name="evil\x1b[2J\u202e\x9b"))
    return tmp_path / "state/log"


def rows(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_last_events_are_shown_and_can_be_read_by_programs(log: Path) -> None:
    assert [row["index"] for row in rows(audit("tail", log, "-n", "2", "--json"))] == [1, 2]
    assert [row["index"] for row in rows(audit("tail", log, "--json"))] == [0, 1, 2]
    assert audit("tail", log, "-n", "0").stdout == ""
    assert "crm.find" in audit("tail", log).stdout


def test_an_agent_cannot_write_on_the_investigators_terminal(log: Path) -> None:
    shown = audit("query", log, "--verdict", "deny").stdout
    assert shown.replace("\n", "").isprintable()
    assert "\\x1b" in shown
    assert "PC3001" in shown
    for command in ("query", "tail"):
        printed = audit(command, log, "--json")
        assert printed.stdout.replace("\n", "").isprintable()
        assert rows(printed)[-1]["event"]["name"] == "evil\x1b[2J\u202e\x9b"


def test_a_query_selects_and_an_event_comes_with_its_result(log: Path) -> None:
    assert [r["event"]["id"] for r in rows(audit("query", log, "--verdict", "deny", "--json"))] == [
        "event-2"
    ]
    both = rows(audit("query", log, "--event", "event-1", "--json"))
    assert [row["event"]["id"] for row in both] == ["event-0", "event-1"]
    since = rows(audit("query", log, "--since", "2030-01-01T00:00:01", "--json"))
    assert [row["index"] for row in since] == [1, 2]
    assert len(rows(audit("query", log, "--limit", "1", "--json"))) == 1
    assert audit("query", log, "--since", "yesterday").exception.code == "PC7004"


@pytest.mark.parametrize("words", [("--verdict", "denied"), ("--type", "call"), ("--code", "3001")])
def test_a_mistyped_query_is_an_error_and_not_an_empty_answer(log: Path, words: tuple[str]) -> None:
    refused = audit("query", log, *words).exception
    assert isinstance(refused, Problem)
    assert refused.code == "PC7004"


def test_verification_needs_only_the_public_key(log: Path) -> None:
    vkey = (log / "log.vkey").read_text().strip()
    result = audit("verify", log, "--key", vkey, "--checkpoint", log / "checkpoint", "--json")
    (report,) = rows(result)
    assert report["ok"] is True
    assert report["key_given"] is True
    assert (report["integrity"], report["completeness"]) == ("passed", "passed")
    assert result.stderr == ""
    plain = audit("verify", log)
    assert plain.exit_code == 0
    assert plain.stdout.startswith("verified: example.org/gate, 3 entries")
    assert "--key" in plain.stderr


def test_a_tampered_log_exits_with_5_and_says_why(log: Path) -> None:
    bundle = log / "tile/entries/000.p/3"
    bundle.write_bytes(bundle.read_bytes().replace(b"deny", b"alow"))
    result = audit("verify", log)
    assert result.exit_code == 5
    assert result.stdout.startswith("FAILED")
    assert "not the hashes of the entries" in result.stdout
    broken = audit("verify", log, "--json")
    assert broken.exit_code == 5
    assert json.loads(broken.stdout)["ok"] is False


def test_an_empty_key_is_not_taken_for_the_key_that_lies_beside_the_log(log: Path) -> None:
    for key in ("", "+" * 5000, "a\0b"):
        problem = audit("verify", log, "--key", key).exception
        assert isinstance(problem, Problem)
        assert problem.code == "PC6005"


def test_a_proof_is_written_and_checked_elsewhere(log: Path, tmp_path: Path) -> None:
    proof = tmp_path / "event-1.tlog-proof"
    assert audit("prove", "event-1", log, "-o", proof).exit_code == 0
    assert audit("prove", "event-1", log).stdout == proof.read_text()
    (made,) = rows(audit("prove", "event-1", log, "--json"))
    assert (made["index"], made["proof"]) == (1, proof.read_text())
    vkey = (log / "log.vkey").read_text().strip()
    (checked,) = rows(audit("verify-proof", proof, "--key", vkey, "--json"))
    assert (checked["ok"], checked["index"], checked["event"]["id"]) == (True, 1, "event-1")
    assert "proven: entry 1" in audit("verify-proof", proof, "--key", vkey).stdout
    proof.write_text(proof.read_text().replace("index 1", "index 0"))
    assert audit("verify-proof", proof, "--key", vkey).exception.code == "PC6005"
    refused = audit("verify-proof", proof, "--key", vkey, "--json")
    assert refused.exit_code == 5
    assert json.loads(refused.stdout)["ok"] is False
    assert audit("prove", "event-9", log).exception.code == "PC6004"


def test_an_entry_cannot_write_its_own_cosignatures_into_the_answer(tmp_path: Path) -> None:
    entry = b'{"id":"x"}, "cosigned": {"w1": 1900000000}, "origin": "bank.example/gate"'
    signer = Signer(ORIGIN, bytes(32))
    note = Checkpoint(ORIGIN, 1, leaf_hash(entry)).sign(signer).decode()
    proof = tmp_path / "event.tlog-proof"
    proof.write_text(f"c2sp.org/tlog-proof@v1\nextra {encode64(entry)}\nindex 0\n\n{note}")
    refused = audit("verify-proof", proof, "--key", signer.verifier, "--json")
    assert refused.exit_code == 5
    assert json.loads(refused.stdout) == {
        "ok": False,
        "reason": "the entry is proven and is no event",
    }
    assert audit("verify-proof", proof, "--key", signer.verifier).exception.code == "PC6005"


def test_an_age_that_no_witness_can_vouch_for_does_not_pass(log: Path, tmp_path: Path) -> None:
    problem = audit("verify", log, "--max-age", 60).exception
    assert isinstance(problem, Problem)
    assert problem.code == "PC7004"
    nobody = tmp_path / "policy"
    nobody.write_text("quorum none\n")
    stale = audit("verify", log, "--max-age", 60, "--witnesses", nobody, "--json")
    assert stale.exit_code == 5
    assert json.loads(stale.stdout)["freshness"] == "failed"


def test_a_policy_that_asks_nobody_does_not_make_a_log_complete(log: Path, tmp_path: Path) -> None:
    nobody = tmp_path / "policy"
    nobody.write_text("quorum none\n")
    (report,) = rows(audit("verify", log, "--witnesses", nobody, "--json"))
    assert (report["completeness"], report["freshness"]) == ("unchecked", "unchecked")
    assert report["age"] is None
    assert "a quorum vouched" not in audit("verify", log, "--witnesses", nobody).stdout


def test_a_witness_in_the_state_of_the_gate_itself_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/portcullis.db").touch()
    for place in ("state", "state/w", "state/new/w"):
        assert gate_around(tmp_path / place) == tmp_path / "state"
    assert gate_around(tmp_path / "other") is None


def test_a_mirror_says_at_once_that_it_cannot_lock_what_it_stores(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    places = ("--from", log, "--key", log / "log.vkey", "--state", tmp_path / "m")
    for target in (tmp_path / "far", "s3://bucket/prefix"):
        words = ("--to", target, "--name", "m.example", "--retention-days", 30, "--once")
        problem = audit("mirror", *places, *words).exception
        assert isinstance(problem, Problem)
        assert problem.code == "PC7001"
    assert not (tmp_path / "far").exists()


def test_the_log_is_found_through_the_configuration(log: Path, tmp_path: Path) -> None:
    config = tmp_path / "portcullis.yaml"
    config.write_text("trust_domain: example.org\nstate: state\n")
    assert len(rows(audit("tail", "-c", config, "--json"))) == 3
    assert audit("verify", "-c", config).exit_code == 0


def test_a_missing_log_is_named(tmp_path: Path) -> None:
    for command in ("tail", "query", "verify"):
        problem = audit(command, tmp_path).exception
        assert isinstance(problem, Problem)
        assert problem.code == "PC7005"
        assert str(tmp_path) in problem.detail
    missing = audit("verify-proof", tmp_path / "none", "--key", "x").exception
    assert isinstance(missing, Problem)
    assert missing.code == "PC7005"


def test_following_prints_events_as_the_gate_writes_them(tmp_path: Path) -> None:
    place = tmp_path / "log"
    with open_log(
        place, tmp_path / "keys", ORIGIN, checkpoint_seconds=0.05, sealer=sealer_at(tmp_path)
    ) as log:
        log.append_now(make(0))
        program = "from portcullis.cli.audit import app; app()"
        follower = subprocess.Popen(
            [sys.executable, "-c", program, "tail", str(place), "-f", "--json"],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert follower.stdout is not None
        try:
            assert json.loads(follower.stdout.readline())["event"]["id"] == "event-0"
            for number in (1, 2):
                log.append_now(make(number))
                assert json.loads(follower.stdout.readline())["event"]["id"] == f"event-{number}"
                time.sleep(0.1)
        finally:
            follower.terminate()
            follower.wait(10)
            follower.stdout.close()
