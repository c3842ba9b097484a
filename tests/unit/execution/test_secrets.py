"""References become secrets, or a Problem that never tells the value."""

from __future__ import annotations

import os
import secrets

import pytest

from portcullis.core.errors import Problem
from portcullis.execution.secrets import local_secrets
from portcullis.execution.secrets.file import purpose
from sealers import sealer_at


@pytest.fixture
def value() -> str:
    return secrets.token_hex(16)


def refused(reference: str, environ: dict[str, str] | None = None) -> Problem:
    with pytest.raises(Problem) as caught:
        local_secrets(environ or {}).resolve(reference)
    assert caught.value.code == "PC5007"
    return caught.value


def write(path, content: str | bytes, mode: int = 0o600) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return f"file:{path}"


def test_a_variable_is_found_without_its_white_space(value):
    assert local_secrets({"KEY": f" {value}\n"}).resolve("env:KEY") == value


def test_a_file_is_found_without_its_white_space(tmp_path, value):
    assert local_secrets({}).resolve(write(tmp_path / "key", f"{value}\n")) == value


def test_a_rotated_file_takes_effect_at_the_next_call(tmp_path, value):
    sources = local_secrets({})
    reference = write(tmp_path / "key", value)
    assert sources.resolve(reference) == value
    write(tmp_path / "new", value[::-1])
    (tmp_path / "new").replace(tmp_path / "key")
    assert sources.resolve(reference) == value[::-1]
    (tmp_path / "key").unlink()
    with pytest.raises(Problem):
        sources.resolve(reference)


def test_a_file_that_becomes_readable_to_others_is_refused_at_the_next_call(tmp_path, value):
    sources = local_secrets({})
    reference = write(tmp_path / "key", value)
    sources.resolve(reference)
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(Problem):
        sources.resolve(reference)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620, 0o644, 0o666])
def test_a_file_that_others_may_use_is_refused_with_a_remedy(tmp_path, value, mode):
    problem = refused(write(tmp_path / "key", value, mode))
    assert problem.hint.startswith("chmod 600")
    assert value not in str(problem)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    refused(f"file:{tmp_path / 'pipe'}")
    refused(f"file:{tmp_path}")
    refused("file:/dev/zero")


def test_missing_empty_and_unfit_secrets_are_refused(tmp_path, value):
    refused("env:MISSING")
    refused("env:EMPTY", {"EMPTY": " \n"})
    refused("file:" + str(tmp_path / "missing"))
    refused(write(tmp_path / "empty", "\n"))
    refused(write(tmp_path / "binary", b"\xff\xfe" + value.encode()))
    refused(write(tmp_path / "large", "x" * 70_000))
    problem = refused("env:KEY", {"KEY": f"{value}\r\nx-evil: 1"})
    assert value not in str(problem)


@pytest.mark.parametrize("reference", ["", "KEY", "vault:x", "sk-by-value"])
def test_what_is_no_reference_is_refused_and_not_repeated(reference):
    problem = refused(reference)
    assert not reference or reference not in problem.detail


def test_a_sealed_file_opens_under_its_own_name_and_with_the_key_alone(tmp_path, value):
    sealer = sealer_at(tmp_path)
    reference = write(tmp_path / "key", sealer.seal(value.encode(), purpose("anywhere/key")))
    assert local_secrets({}, sealer).resolve(reference) == value
    assert value.encode() not in (tmp_path / "key").read_bytes()
    moved = write(tmp_path / "other", (tmp_path / "key").read_bytes())
    for source, asked, code in (
        (local_secrets({}, sealer), moved, "PC7010"),
        (local_secrets({}), reference, "PC5007"),
    ):
        with pytest.raises(Problem) as caught:
            source.resolve(asked)
        assert caught.value.code == code
