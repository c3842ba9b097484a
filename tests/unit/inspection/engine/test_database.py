from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from portcullis.core.errors import Problem
from portcullis.inspection import database
from portcullis.inspection.patterns import Patterns
from unit.inspection.engine.making import rule

RULES = [rule("a[0-9]{3}", "A"), rule("[0-9]{4}", "B", context=("pin",))]
TEXT = "a123, pin 1234"


@pytest.fixture
def probe() -> Iterator[None]:
    database.library.cache_clear()
    yield
    database.library.cache_clear()


def found(patterns: Patterns) -> list[str]:
    return [one.entity for one in patterns.scan([TEXT])[0]]


def test_a_compiled_database_is_kept_for_the_gate_alone_and_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kept"
    assert found(Patterns(RULES, cache=folder)) == ["A", "B"]
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(database, "_compiled", None)
    assert found(Patterns(RULES, cache=folder)) == ["A", "B"]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"", lambda data: data * 2]
)
def test_a_damaged_file_is_made_again_and_never_trusted(tmp_path: Path, damage: object) -> None:
    Patterns(RULES, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    good = file.read_bytes()
    file.write_bytes(damage(good))
    assert found(Patterns(RULES, cache=tmp_path)) == ["A", "B"]
    assert file.read_bytes()[:32] == good[:32]


def test_a_file_of_another_library_is_made_again(tmp_path: Path) -> None:
    Patterns(RULES, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    payload = b"not a database"
    file.write_bytes(hashlib.sha256(payload).digest() + payload)
    assert found(Patterns(RULES, cache=tmp_path)) == ["A", "B"]


def test_other_rules_have_another_file(tmp_path: Path) -> None:
    Patterns(RULES, cache=tmp_path)
    Patterns(RULES[:1], cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_written_costs_time_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way", encoding="utf-8")
    assert found(Patterns(RULES, cache=file / "below")) == ["A", "B"]


@pytest.mark.usefixtures("probe")
def test_a_processor_on_which_the_library_crashes_does_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def crash(*_args: object, **_rest: object) -> None:
        raise subprocess.CalledProcessError(-4, "python")

    monkeypatch.setattr(database.subprocess, "run", crash)
    patterns = Patterns(RULES)
    assert isinstance(patterns._prefilter, database.Literals)
    assert found(patterns) == ["A", "B"]
    with pytest.raises(Problem, match="PC7014"):
        Patterns(RULES, accelerated=True)


def test_a_rule_that_is_too_large_for_the_library_is_looked_for_without_it() -> None:
    big = rule("(?:(?:ab?c?|d)?x?[a-f]{2,4}y?){400}z[0-9]", "BIG", left="any", right="any")
    patterns = Patterns([*RULES, big])
    text = f"a123 {'abxaby' * 400}z1 pin 1234"
    assert [one.entity for one in patterns.scan([text])[0]] == ["A", "BIG", "B"]


def test_threads_scan_at_the_same_time() -> None:
    patterns = Patterns(RULES)
    seen: list[list[str]] = []
    threads = [
        Thread(target=lambda: seen.extend(found(patterns) for _ in range(200))) for _ in range(4)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert seen == [["A", "B"]] * 800
