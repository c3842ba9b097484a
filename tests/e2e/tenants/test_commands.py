"""If these fail, a provider makes tenants that are not apart and is not told, or loses evidence."""

import json
import re
import shutil

import pytest
import yaml

import commands
from portcullis.bootstrap.foundation import ruling
from portcullis.bootstrap.presence import presence
from portcullis.config import load
from portcullis.config.places import Role
from portcullis.config.tenants import listeners

PARENT = ("--parent", "provider.example")


@pytest.fixture
def tenant(tmp_path):
    """A command about the tenants of a folder: what it did."""

    def run(*words, code=0, **more):
        done = commands.run("tenant", *words, "--folder", tmp_path / "all", **more)
        assert code in {None, done.returncode}, done.stderr + done.stdout
        return done

    return run


@pytest.fixture
def check(tenant):
    """What is found, as (code, tenants, what)."""

    def run():
        done = tenant("check", "--json", code=None)
        return [
            (one["code"], one["tenants"], one["found"])
            for one in json.loads(done.stdout)["findings"]
        ]

    return run


def text_of(folder):
    return yaml.safe_load((folder / "portcullis.yaml").read_text())


def test_each_is_made_with_a_name_ports_and_files_of_its_own(tenant, tmp_path):
    said = json.loads(tenant("create", "acme", *PARENT, "--ports", "7400-7405", "--json").stdout)
    assert said["trust_domain"] == "acme.provider.example"
    tenant("create", "globex", *PARENT, "--ports", "7400-7405", "--listen", "mtls=[::]:7404")
    folder = tmp_path / "all"
    found = {one: load(folder / one / "portcullis.yaml") for one in ("acme", "globex")}
    assert listeners(found["acme"]) == said["listen"]
    assert sorted(listeners(found["globex"]).values()) == [
        *("127.0.0.1:7403", "127.0.0.1:7405", "[::]:7404")
    ]
    for place in (folder, folder / "acme"):
        assert place.stat().st_mode & 0o777 == 0o700
    full = tenant("create", "third", *PARENT, "--ports", "7400-7405", code=1)
    assert "PC7094" in full.stderr
    assert not (folder / "third").exists()
    servers = ("--database-admin", "env:PG", "--redis-admin", "env:REDIS")
    nowhere = {"PG": f"postgresql://x@/x?host={tmp_path}", "REDIS": f"unix://{tmp_path}/none"}
    open_ = ("create", "third", *PARENT, *servers, "--listen", "control=0.0.0.0:7406")
    assert "PC7001" in tenant(*open_, code=1, env=nowhere).stderr, "before any server is asked"
    assert not (folder / "third").exists()
    (folder / "third").mkdir()
    assert "no tenant" in tenant("create", "third", *PARENT, code=1).stderr
    (folder / "third").rmdir()
    assert found["acme"].console.name == "acme.localhost"
    again = tenant("create", "acme", *PARENT, code=1)
    assert "PC7094" in again.stderr
    assert text_of(folder / "acme")["trust_domain"] == "acme.provider.example"
    rows = [json.loads(line) for line in tenant("list", "--json").stdout.splitlines()]
    assert [(one["tenant"], one["process"]) for one in rows] == [("acme", None), ("globex", None)]
    assert tenant("check").stdout == "apart   acme, globex\n"


@pytest.mark.parametrize("name", ["..", "a.b", "\u0430cme", "a" * 64, "../x"])
def test_no_name_leads_elsewhere(tenant, tmp_path, name):
    for words in (("create", *PARENT), ("remove",)):
        assert "PC7093" in tenant(*words, name, code=2).stderr
    assert not list(tmp_path.rglob("portcullis.yaml"))


def test_administrators_get_what_they_need_by_hand_and_no_password(tenant, tmp_path):
    environment = {
        "PG": "postgresql://root:the-admin@db.example.org/postgres?sslmode=verify-full"
        "&user=root&password=the-admin&dbname=postgres&sslkey=/the-admin.key",
        "REDIS": "rediss://root:the-admin@redis.example.org/0",
    }
    servers = ("--database-admin", "env:PG", "--redis-admin", "env:REDIS", "--by-hand")
    done = tenant("create", "acme", *PARENT, *servers, "--json", env=environment)
    folder = tmp_path / "all" / "acme"
    assert len(json.loads(done.stdout)["left"]) == 2
    url = (folder / "database.url").read_text()
    found = re.fullmatch(
        r"postgresql://portcullis_acme:(.+)@db\.example\.org/portcullis_acme\?sslmode=verify-full",
        url,
    )
    sql, acl = (folder / "database.sql").read_text(), (folder / "redis.acl").read_text()
    assert 'CREATE ROLE "portcullis_acme" LOGIN PASSWORD \'SCRAM-SHA-256$' in sql
    assert 'REVOKE ALL ON DATABASE "portcullis_acme" FROM PUBLIC;' in sql
    assert "~portcullis:{acme.provider.example}:limits:*" in acl
    assert "&portcullis:acme.provider.example:feed:*" in acl
    assert len({line.split()[1] for line in acl.splitlines()}) == 3
    files = [one for one in folder.rglob("*") if one.is_file()]
    assert all(found[1] not in one.read_text() for one in files if one.name != "database.url")
    assert all("the-admin" not in one.read_text() for one in files)
    assert {one.stat().st_mode & 0o077 for one in files if one.parent == folder} == {0}


def test_what_two_have_together_is_found(tenant, check, tmp_path):
    for name in ("acme", "globex"):
        tenant("create", name, *PARENT)
    first, second = tmp_path / "all" / "acme", tmp_path / "all" / "globex"
    keys = first / "portcullis-state" / "keys"
    keys.mkdir(parents=True, mode=0o700)
    keys.parent.chmod(0o700)
    (keys / "master.key").write_bytes(b"a key")
    shutil.copytree(first / "portcullis-state", second / "portcullis-state")
    (copied,) = check()
    assert copied[:2] == ("PC7095", ["acme", "globex"])
    assert "master.key" in copied[2]
    (keys / "master.key").write_bytes(b"another")
    assert check() == []
    theirs = text_of(second)
    changed = theirs | {
        "trust_domain": "acme.provider.example",
        "state": "../acme/portcullis-state/inner",
        "policy": "../acme/policy",
    }
    for one, place in ((first, "s3://logs/all"), (second, "s3://logs/all/globex")):
        copies = {"audit": {"replicate": [{"name": "s3", "store": place}]}}
        of = theirs if one is second else text_of(first)
        (one / "portcullis.yaml").write_text(yaml.safe_dump(of | copies))
    (again,) = check()
    assert again[2] == "the store of copies s3://logs/all"
    changed["console"] = {"name": "acme.localhost"}
    changed["listen"] = theirs["listen"] | {
        "mtls": text_of(first)["listen"]["gate"].replace("127.0.0.1", "localhost")
    }
    (second / "portcullis.yaml").write_text(yaml.safe_dump(changed))
    found = " ".join(what for code, _, what in check() if code == "PC7095")
    for what in ("the trust domain", "the state", "the policy", "the address of gate and mtls",
                 "the name of their consoles, acme.localhost"):  # fmt: skip
        assert what in found, what
    (second / "portcullis.yaml").write_text("trust_domain: [")
    assert check()[0][:2] == ("PC7001", ["globex"])
    (second / "portcullis.yaml").write_text(yaml.safe_dump(theirs))
    first.parent.chmod(0o777)
    second.chmod(0o755)
    assert [one[:2] for one in check()] == [("PC7096", []), ("PC7096", ["globex"])]


def test_a_server_that_cannot_be_asked_is_not_taken_for_apart(tenant, check, tmp_path):
    tenant("create", "acme", *PARENT)
    file = tmp_path / "all" / "acme" / "portcullis.yaml"
    at = [{"url": f"env:NOWHERE{number}"} for number in range(3)]
    settings = {"store": at[0], "shared": at[1], "feed": at[2] | {"via": "redis"}}
    file.write_text(yaml.safe_dump(text_of(file.parent) | settings))
    assert {one[0] for one in check()} == {"PC7096"}
    assert len(check()) == 3
    place = tmp_path / "none.sock"
    urls = f"STORE=postgresql://x@/x?host={tmp_path}\nREDIS=unix://x:y@{place}\n"
    (file.parent / "environment").write_text(urls)
    (file.parent / "environment").chmod(0o600)
    settings = {"store": {"url": "env:STORE"}, "shared": {"url": "env:REDIS"}}
    file.write_text(yaml.safe_dump(text_of(file.parent) | settings))
    found = [one[2] for one in check()]
    assert sum("could not be looked at" in one for one in found) == 3


def test_one_that_is_removed_is_set_aside_with_its_logs(tenant, tmp_path):
    tenant("create", "acme", *PARENT)
    folder = tmp_path / "all" / "acme"
    log = folder / "portcullis-state" / "log"
    log.mkdir(parents=True)
    (log / "entries").write_text("evidence")
    with presence(folder / "portcullis-state" / "gate.json", Role.ALONE) as say:
        say({"control": "http://127.0.0.1:1", "gate": "http://127.0.0.1:1", "mtls": "https://x:1"})
        assert "PC7094" in tenant("remove", "acme", code=1).stderr
        assert tenant("list").stdout.count("process") == 1
    with ruling(folder / "portcullis-state"):  # one that has only begun
        assert "PC6003" in tenant("remove", "acme", code=1).stderr
    done = json.loads(tenant("remove", "acme", "--json").stdout)
    assert len(done["left"]) == 1
    aside = tmp_path / "all" / done["folder"].rpartition("/")[2]
    assert (aside / "portcullis-state" / "log" / "entries").read_text() == "evidence"
    assert "evidence" in done["left"][0]
    assert tenant("list").stdout == ""
    assert "PC7094" in tenant("up", code=1).stderr
    tenant("create", "acme", *PARENT)
