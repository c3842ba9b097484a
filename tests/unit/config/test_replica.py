"""A replica or an authority that could not work is refused when the configuration is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from portcullis.config import load
from portcullis.core.errors import Problem

KEYS = "access_key: env:A, secret_key: file:s3.secret"


def read(folder: Path, audit: str):
    place = folder / "portcullis.yaml"
    place.write_text(f"trust_domain: example.org\naudit:\n{audit}\n")
    return load(place).audit


def test_paths_are_relative_to_the_file_and_stores_are_not(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        f"  replicate: [{{name: far, store: 's3://b/p', {KEYS}, session_token: file:s3.token, "
        "retention_days: 7}]\n"
        "  timestamps: {every_minutes: 5, authorities: "
        "[{name: a, url: 'http://tsa.example', certificates: roots.pem}]}",
    )
    assert found.replicate[0].store == "s3://b/p"
    assert found.replicate[0].access_key == "env:A"
    assert found.replicate[0].secret_key == f"file:{tmp_path}/s3.secret"
    assert found.replicate[0].session_token == f"file:{tmp_path}/s3.token"
    assert found.timestamps.authorities[0].certificates == tmp_path / "roots.pem"


@pytest.mark.parametrize(
    ("replica", "said"),
    [
        ("{name: far, store: 's3://b', retention_days: 7}", "access_key"),
        (f"{{name: far, store: 'gs://b', {KEYS}}}", "s3:// only"),
        ("{name: far, store: 's3://b', access_key: env:A}", "both"),
        ("{name: far, store: 's3://b', session_token: env:T}", "session_token belongs"),
        (f"{{name: far, store: 's3://b', {KEYS}, session_token: plain}}", "pattern"),
        ("{name: far, store: 's3://key:secret@b'}", "pattern"),
        ("{name: far, store: ./folder}", "pattern"),
        ("{name: far, store: 's3://b', secret_key: plain}", "pattern"),
        ("{name: far, store: 's3://b'}, {name: far, store: 's3://c'}", "same name"),
    ],
)
def test_what_could_not_work_is_refused_with_its_line(tmp_path: Path, replica, said) -> None:
    with pytest.raises(Problem) as raised:
        read(tmp_path, f"  replicate: [{replica}]")
    assert raised.value.code == "PC7001"
    assert "portcullis.yaml:3" in raised.value.detail
    assert said in raised.value.detail
    assert "secret@" not in raised.value.detail
