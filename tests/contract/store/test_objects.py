"""What every object store promises: a folder, memory, and an S3 server with object lock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from botocore.exceptions import ClientError
from obstore.store import MemoryStore

from objectstores import S3Server, s3_server
from portcullis.core.errors import Problem
from portcullis.core.record_ports import ObjectStore, Retention
from portcullis.store.objects import Objects, StoreSettings, open_objects
from portcullis.store.s3_lock import LockingS3, S3Address, sign


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(params=["folder", "memory", "s3", "s3 without keys"])
def store(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    if request.param == "memory":
        return Objects(MemoryStore())
    if request.param == "folder":
        return open_objects(StoreSettings(url=f"file://{tmp_path}/far/away"))
    server: S3Server = request.getfixturevalue("s3")
    settings = server.bucket(f"logs-{time.time_ns()}", "some/prefix")
    if request.param == "s3":
        return open_objects(settings)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", settings.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", settings.secret_key)
    return open_objects(StoreSettings(url=settings.url, region="x", endpoint=settings.endpoint))


def test_what_is_put_is_what_is_got(store: ObjectStore) -> None:
    data = bytes(range(256)) * 300
    assert store.put("tile/0/x001/234", data)
    assert store.get("tile/0/x001/234", len(data)) == data
    found = store.head("tile/0/x001/234")
    assert found is not None
    assert found.size == len(data)
    assert abs(found.modified - time.time()) < 60
    assert found.retention is None


def test_an_object_is_made_only_once_unless_it_may_be_replaced(store: ObjectStore) -> None:
    assert store.put("a", b"first")
    assert not store.put("a", b"second")
    assert store.get("a", 10) == b"first"
    assert store.put("a", b"third", replace=True)
    assert store.get("a", 10) == b"third"


def test_what_is_not_there_is_none_and_its_deletion_no_error(store: ObjectStore) -> None:
    assert store.get("none", 10) is None
    assert store.head("none") is None
    assert list(store.list("none")) == []
    store.delete("none")


def test_an_object_beyond_the_limit_is_refused(store: ObjectStore) -> None:
    store.put("big", b"x" * 11)
    with pytest.raises(Problem, match="PC6021"):
        store.get("big", 10)


def test_a_list_holds_all_below_a_folder_and_nothing_beside_it(store: ObjectStore) -> None:
    paths = {f"t/{n:03d}.p/{n}" for n in range(20)}
    for path in (*paths, "tx/1", "u"):
        store.put(path, b"")
    assert set(store.list("t")) == paths
    assert set(store.list("t/007.p")) == {"t/007.p/7"}


def test_what_was_deleted_is_gone_and_can_be_made_again(store: ObjectStore) -> None:
    store.put("a", b"1")
    store.delete("a")
    assert store.get("a", 10) is None
    assert store.put("a", b"2")


def test_a_lock_is_kept_or_refused_and_never_ignored(store: ObjectStore) -> None:
    until = float(int(time.time()) + 86_400)
    wanted = Retention("compliance", until)
    if not isinstance(store, LockingS3):
        with pytest.raises(Problem, match="PC6021"):
            store.put("a", b"1", retention=wanted)
        assert store.get("a", 10) is None
        return
    assert store.put("a", b"1", retention=wanted)
    found = store.head("a")
    assert found is not None
    assert found.retention == wanted
    assert not store.put("a", b"2", retention=wanted)
    assert store.get("a", 10) == b"1"


def test_a_locked_version_cannot_be_deleted_and_a_deletion_hides_it_only(s3: S3Server) -> None:
    settings = s3.bucket("locked")
    store = open_objects(settings)
    store.put("a", b"1", retention=Retention("compliance", time.time() + 86_400))
    mode, until = s3.locked_until("locked", "a")
    assert mode == "COMPLIANCE"
    assert (until - datetime.now(UTC)).total_seconds() == pytest.approx(86_400, abs=60)
    version = s3.client.head_object(Bucket="locked", Key="a")["VersionId"]
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.client.delete_object(Bucket="locked", Key="a", VersionId=version)
    store.delete("a")
    assert store.get("a", 10) is None
    kept = s3.client.get_object(Bucket="locked", Key="a", VersionId=version)
    assert kept["Body"].read() == b"1"


def test_a_store_that_is_away_is_a_problem_without_its_address_or_key(s3: S3Server) -> None:
    away = StoreSettings(
        url="s3://none/x",
        region="us-east-1",
        endpoint="http://127.0.0.1:9",
        access_key=s3.access_key,
        secret_key=s3.secret_key,
    )
    store = open_objects(away)
    lock = Retention("governance", time.time() + 60)
    for act in (
        lambda: store.get("a", 1),
        lambda: store.put("a", b""),
        lambda: store.put("a", b"", retention=lock),
        lambda: store.head("a"),
        lambda: list(store.list("a")),
        lambda: store.delete("a"),
    ):
        with pytest.raises(Problem) as raised:
            act()
        assert raised.value.code == "PC6021"
        assert "127.0.0.1" not in raised.value.detail
        assert s3.access_key not in raised.value.detail


@pytest.mark.parametrize("url", ["ftp://x/y", "s3:///x", "file://host/x", "x", "gs://", ""])
def test_an_address_that_is_none_is_a_configuration_error(url: str) -> None:
    with pytest.raises(Problem, match="PC7001"):
        open_objects(StoreSettings(url=url))


def test_an_endpoint_in_the_clear_is_for_this_machine_only() -> None:
    with pytest.raises(Problem, match="PC7001"):
        open_objects(StoreSettings(url="s3://b", endpoint="http://192.0.2.1:9000"))


def test_requests_are_signed_as_the_specification_does_it() -> None:
    address = S3Address(
        endpoint="https://examplebucket.s3.amazonaws.com",
        region="us-east-1",
        bucket="",
        prefix="",
        access_key="AKIAIOSFODNN7EXAMPLE",
        secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",  # noqa: S106 - AWS' own example
    )
    signed = sign(
        address,
        "PUT",
        "https://examplebucket.s3.amazonaws.com/test%24file.text",
        {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
        b"Welcome to Amazon S3.",
        datetime(2013, 5, 24, tzinfo=UTC),
    )
    assert signed["authorization"].endswith(
        "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    )


@pytest.fixture(scope="module")
def keys() -> Iterator[tuple[StoreSettings, StoreSettings]]:
    """A bucket of a server that checks signatures and tokens: with lasting and temporary keys."""
    with s3_server() as s3:
        yield s3.guarded(s3.bucket("guarded", "logs"))


def test_temporary_keys_lock_and_read_what_they_wrote(keys) -> None:
    store = open_objects(keys[1])
    lock = Retention("compliance", float(int(time.time()) + 86_400))
    assert store.put("a", b"1", retention=lock)
    assert not store.put("a", b"2", retention=lock)
    assert store.put("plain", b"3")
    found = store.head("a")
    assert found is not None
    assert found.retention == lock
    assert store.get("a", 10) == b"1"
    assert sorted(store.list("")) == ["a", "plain"]


@pytest.mark.parametrize("end", ["", "~"])
def test_temporary_keys_are_nothing_without_their_token(keys, end: str) -> None:
    token = keys[1].session_token[:-1] + end if end else ""
    store = open_objects(msgspec.structs.replace(keys[1], session_token=token))
    lock = Retention("compliance", time.time() + 86_400)
    for act in (
        lambda: store.put("b", b"1", retention=lock),
        lambda: store.put("b", b"1"),
        lambda: store.head("b"),
        lambda: store.get("b", 10),
    ):
        with pytest.raises(Problem, match="PC6021"):
            act()


def test_a_token_in_the_environment_is_not_added_to_keys_that_were_given(
    keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of other keys")
    store = open_objects(keys[0])
    assert store.put("c", b"1", retention=Retention("compliance", time.time() + 86_400))
    assert store.put("d", b"1")
    assert store.get("c", 10) == b"1"


def test_the_token_of_temporary_keys_is_signed_with_the_request() -> None:
    address = S3Address(
        endpoint="https://s3.example",
        region="x",
        bucket="b",
        prefix="",
        access_key="key",
        secret_key="secret",  # noqa: S106 - of nobody
        session_token="token",  # noqa: S106 - of nobody
    )
    signed = sign(address, "GET", address.url("a"), {}, b"", datetime.now(UTC))
    assert signed["x-amz-security-token"] == "token"
    assert (
        "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"
        in (signed["authorization"])
    )


def test_a_bucket_without_object_lock_is_not_taken_for_one_with_it(s3: S3Server) -> None:
    settings = s3.bucket("unlocked", lock=False)
    store = open_objects(settings)
    lock = Retention("compliance", time.time() + 60)
    for _ in range(2):
        with pytest.raises(Problem, match="PC6021"):
            store.put("a", b"1", retention=lock)
