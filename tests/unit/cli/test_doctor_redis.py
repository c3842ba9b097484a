"""If these fail, nobody hears that a server forgets counts, or that a gate is refused there."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

from needs import needs_redis
from portcullis.cli import doctor, doctor_redis
from portcullis.config import load
from portcullis.store.redis_acl import USES
from redis_servers import Node, nodes, redis_server, told

pytestmark = needs_redis
CONFIG = """trust_domain: test.internal
counters: {via: redis, url: "env:COUNTS"}
policy: policy.yaml
guard: {shop: {}}
"""
ALL = CONFIG + 'feed: {via: redis, url: "env:FEED"}\nshared: {url: "env:SHARED"}\n'


def found(folder, text, monkeypatch, **urls):
    """What the doctor says of the servers."""
    for name, url in urls.items():
        monkeypatch.setenv(name, url)
    (folder / "portcullis.yaml").write_text(text)
    findings = doctor._deployment(load(folder / "portcullis.yaml"))
    known = ("counts", "feed server", "shared server")
    return {each.what: (each.ok, each.found, each.do) for each in findings if each.what in known}


def test_the_doctor_says_whether_the_counts_survive_their_servers_restart(tmp_path, monkeypatch):
    with tempfile.TemporaryDirectory(prefix="pc-") as place:
        folder = Path(place)
        with redis_server(folder) as url:
            ok, said, do = found(tmp_path, CONFIG, monkeypatch, COUNTS=url)["counts"]
            assert (ok, said) == (False, "env:COUNTS: it writes nothing to its disk")
            assert "appendonly yes" in do
        ok, said, _ = found(tmp_path, CONFIG, monkeypatch, COUNTS=url)["counts"]
        assert not ok
        assert "cannot be reached" in said
        (folder / "other").mkdir()
        with redis_server(folder / "other", "--appendonly", "yes") as url:
            ok, said, _ = found(tmp_path, CONFIG, monkeypatch, COUNTS=url)["counts"]
            assert ok
            assert said.startswith("env:COUNTS: it keeps what is counted, Redis ")
            with monkeypatch.context() as wrong:
                wrong.setattr(doctor_redis, "time", SimpleNamespace(time=lambda: time.time() + 60))
                said = found(tmp_path, CONFIG, monkeypatch, COUNTS=url)["counts"]
            assert said[:2] == (False, "env:COUNTS: its clock is -60 seconds from the one here")
            assert "NTP" in said[2]
    ok, said, _ = found(tmp_path, CONFIG, monkeypatch, COUNTS="redis://10.0.0.1/")["counts"]
    assert not ok
    assert "10.0.0.1 in clear" in said


def test_the_doctor_says_which_rule_a_user_lacks_and_that_a_server_drops_what_it_has(
    tmp_path, monkeypatch
):
    node = Node(tmp_path / "redis", ("--appendonly", "yes"))
    with nodes(node):
        for use in USES:
            rules = use.rule("test.internal").split()
            told(node, "ACL", "SETUSER", use.name, "on", ">pw", *rules)
        urls = {
            "COUNTS": f"redis://counters:pw@{node.address}",
            "FEED": f"redis://feed:pw@{node.address}",
            "SHARED": f"redis://shared:pw@{node.address}",
        }
        said = found(tmp_path, ALL, monkeypatch, **urls)
        assert [ok for ok, _, _ in said.values()] == [True, True, True]
        told(node, "ACL", "SETUSER", "counters", "-zadd", "-info")
        told(node, "ACL", "SETUSER", "shared", "resetkeys", "~portcullis:{elsewhere/*")
        told(node, "ACL", "SETUSER", "feed", "resetchannels")
        for what, (ok, why, do) in found(tmp_path, ALL, monkeypatch, **urls).items():
            assert not ok, what
            assert why.startswith("its user may not: ")
            told(node, *do.split())
        told(node, "CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "volatile-lru")
        said = found(tmp_path, ALL, monkeypatch, **urls)
        assert [ok for ok, _, _ in said.values()] == [False, True, False]
        assert "forgets what it has" in said["shared server"][1]
