"""If these fail, nobody hears that the server of the counts gives budgets back."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from portcullis.cli import doctor
from portcullis.config import load
from redis_servers import redis_server

pytestmark = pytest.mark.skipif(
    not (shutil.which("redis-server") or shutil.which("valkey-server")),
    reason="needs Debian's redis-server: see `make packages`",
)
CONFIG = """trust_domain: test.internal
counters: {via: redis, url: "env:COUNTS"}
policy: policy.yaml
guard: {shop: {}}
"""


def found(folder, url, monkeypatch):
    """What the doctor says of the counts."""
    monkeypatch.setenv("COUNTS", url)
    (folder / "portcullis.yaml").write_text(CONFIG)
    findings = doctor._deployment(load(folder / "portcullis.yaml"))
    (one,) = [each for each in findings if each.what == "counts"]
    return one.ok, one.found, one.do


def test_the_doctor_says_whether_the_counts_survive_their_servers_restart(tmp_path, monkeypatch):
    folder = Path(tempfile.mkdtemp(prefix="pc-"))
    with redis_server(folder) as url:
        ok, said, do = found(tmp_path, url, monkeypatch)
        assert (ok, said) == (False, "env:COUNTS: it writes nothing to its disk")
        assert "appendonly yes" in do
    ok, said, _ = found(tmp_path, url, monkeypatch)
    assert not ok
    assert "cannot be reached" in said
    (folder / "other").mkdir()
    with redis_server(folder / "other", "--appendonly", "yes") as url:
        ok, said, _ = found(tmp_path, url, monkeypatch)
    assert (ok, said) == (True, "env:COUNTS: it keeps what is counted")
    shutil.rmtree(folder)
