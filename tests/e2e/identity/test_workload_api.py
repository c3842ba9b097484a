"""The Workload API against the PyPI ``spiffe`` library: nothing of ours is on the client side."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import sys
import time
from pathlib import Path

import msgspec
import pytest

from e2e.identity.workloads import (
    AGENT,
    DOMAIN,
    ID,
    NOBODY,
    copied_python,
    staged,
)
from portcullis.core.lifecycle import State
from portcullis.core.principal import PrincipalKind
from portcullis.identity.workload import Bounds

pytestmark = pytest.mark.anyio
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to run as another user")

US = f"unix:uid:{os.geteuid()}"
PYTHON = Path(sys.executable).resolve()


@pytest.fixture
def anyio_backend():
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def others():
    """The private sockets of gates that other tests keep in this process."""
    return set(_private_sockets())


@pytest.fixture
async def stage(tmp_path, others):
    async with staged(tmp_path) as stage:
        yield stage


async def test_a_workload_fetches_its_svid_and_every_step_is_on_record(stage):
    entry = stage.register(US)
    async with stage.workload() as workload:
        context = await workload("x509")
    [svid] = context["svids"]
    assert svid["id"] == ID
    assert context["bundles"] == {DOMAIN: [svid["root"]]}
    [issue] = stage.log.of("svid.issue")
    assert issue.verdict == "allow"
    assert (issue.principal_kind, issue.principal) == ("agent", AGENT)
    assert issue.credential == f"svid:{svid['serial'].rjust(32, '0')}"
    assert issue.source == f"uid:{os.geteuid()} pid:{workload.pid} exe:{PYTHON}"
    assert issue.parameters["spiffe_id"] == ID
    assert issue.parameters["entry"] == entry
    assert issue.parameters["selectors"] == [US]
    assert issue.parameters["expires_at"] == svid["until"]
    assert issue.parameters["thumbprint"]


async def test_jwt_svids_validate_with_the_bundle_and_through_the_api(stage):
    stage.register(US)
    async with stage.workload() as workload:
        svid = await workload("jwt", audience=["billing"], subject=ID)
        assert svid["id"] == ID
        assert await workload("validate", token=svid["token"], audience="billing") == ID
        assert await workload("jwt_bundles") == {DOMAIN: sorted(stage.authority.bundle().jwt)}
        assert await workload("x509_bundles") == [DOMAIN]
        other = await workload.tries("validate", token=svid["token"], audience="shipping")
        other_signature = (
            svid["token"][:-9] + ("A" if svid["token"][-9] != "A" else "B") + svid["token"][-8:]
        )
        forged = await workload.tries("validate", token=other_signature, audience="billing")
        foreign = await workload.tries(
            "jwt", audience=["billing"], subject=f"spiffe://{DOMAIN}/agent/other"
        )
    assert "INVALID_ARGUMENT" in other
    assert "PC2032" in other
    assert "INVALID_ARGUMENT" in forged
    assert "PERMISSION_DENIED" in foreign
    assert [event.code for event in stage.log.of("jwt_svid.validate")] == ["PC2032", "PC2031"]
    [issued, refused] = stage.log.of("jwt_svid.issue")
    assert issued.credential
    assert issued.parameters["audience"] == ["billing"]
    assert refused.code == "PC2060"


async def test_a_caller_gets_every_identity_that_it_is_registered_for(stage):
    stage.register(US)
    stage.register(US, f"unix:path:{PYTHON}", kind=PrincipalKind.APPLICATION, principal="desk")
    stage.register(US, kind=PrincipalKind.OPERATOR, principal="root")
    stage.register(US, "unix:uid:4242", principal="someone-else")
    async with stage.workload() as workload:
        context = await workload("x509")
    assert [svid["id"] for svid in context["svids"]] == [ID, f"spiffe://{DOMAIN}/application/desk"]


async def test_a_federated_domain_comes_along_and_vouches_only_for_its_own(stage, tmp_path):
    async with staged(tmp_path / "other") as elsewhere:
        foreign = msgspec.structs.replace(
            elsewhere.authority.bundle(), trust_domain="partner.example"
        )
    stage.register(US)
    stage.trust.put(foreign)
    async with stage.workload() as workload:
        await workload("open_source")
        assert set((await workload("source_now"))["bundles"]) == {DOMAIN, "partner.example"}
        assert await workload("x509_bundles") == ["partner.example", DOMAIN]
        assert set(await workload("open_jwt_source")) == {DOMAIN, "partner.example"}
        stage.trust.remove("partner.example")
        assert set((await workload("source_update"))["bundles"]) == {DOMAIN}


async def test_sources_rotate_at_half_life_without_a_gap(tmp_path):
    async with staged(tmp_path, svid_ttl_seconds=10) as stage:
        stage.register(US, ttl=4)
        async with stage.workload() as workload:
            [first] = (await workload("open_source"))["svids"]
            await workload("open_jwt_source")
            assert await workload("jwt_source_svid", audience=["billing"]) == ID
            seen = [first]
            for _ in range(2):
                update = await workload("source_update")
                [svid] = update["svids"]
                assert update["at"] < seen[-1]["until"] - 1
                seen.append(svid)
    assert len({svid["serial"] for svid in seen}) == 3
    assert [event.parameters["replaces"] for event in stage.log.of("svid.renew")][:1] == [
        first["serial"].rjust(32, "0")
    ]


async def test_a_forced_rotation_replaces_the_svid_at_once(stage):
    stage.register(US)
    async with stage.workload() as workload:
        [first] = (await workload("open_source"))["svids"]
        began = time.time()
        stage.feed.outdate(PrincipalKind.AGENT, AGENT, began)
        await stage.change(rotated_at=began)
        update = await workload("source_update")
        assert update["svids"][0]["serial"] != first["serial"]
        assert update["at"] - began < 1
        held = (await workload("source_now"))["svids"][0]
    assert int(held["serial"].rjust(32, "0")[:12], 16) / 1000 >= began


async def test_a_revoked_credential_is_replaced(stage):
    stage.register(US)
    async with stage.workload() as workload:
        [first] = (await workload("open_source"))["svids"]
        await stage.feed.cut("credential", f"svid:{first['serial'].rjust(32, '0')}", "leaked")
        [second] = (await workload("source_update"))["svids"]
    assert second["serial"] != first["serial"]


@pytest.mark.parametrize("what", ["root", "signing", "jwt"])
async def test_a_rotation_of_the_authority_reaches_open_sources_within_a_second(stage, what):
    stage.register(US)
    async with stage.workload() as workload:
        before = await workload("open_source")
        keys = (await workload("open_jwt_source"))[DOMAIN]
        began = time.time()
        await asyncio.to_thread(stage.authority.rotate, what)
        if what == "root":
            update = await workload("source_update")
            assert update["at"] - began < 1
            assert len(update["bundles"][DOMAIN]) == 2
            assert set(before["bundles"][DOMAIN]) < set(update["bundles"][DOMAIN])
            assert update["svids"] == before["svids"]  # good for the rest of its life
        else:
            await asyncio.sleep(0.5)
        both = (await workload("jwt_source_keys"))[DOMAIN]
        assert set(keys) < set(both) if what == "jwt" else keys == both
        assert await workload("jwt_source_svid", audience=["billing"]) == ID


async def test_a_retired_authority_takes_its_svids_with_it(stage):
    stage.register(US)
    async with stage.workload() as workload:
        [old] = (await workload("open_source"))["svids"]
        await asyncio.to_thread(stage.authority.rotate, "root")
        await workload("source_update")
        await asyncio.to_thread(stage.authority.retire, "root")
        update = await workload("source_update")
    assert update["svids"][0]["root"] != old["root"]
    assert update["bundles"][DOMAIN] == [update["svids"][0]["root"]]


async def _revoked(stage, how, entry, monkeypatch):
    if how == "state":
        await stage.change(state=State.REVOKED)
    elif how == "review":
        await stage.change(review_at=time.time() - 1)
    elif how == "cut":
        await stage.feed.cut("agent", AGENT, "misbehaves")
    elif how == "stale":
        stage.feed._is_stale(stale=True)
    elif how == "entry":
        await asyncio.to_thread(stage.registrations.remove, entry)
    else:
        monkeypatch.setattr(stage.registrations, "version", lambda: 1 // 0)


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ("state", "PERMISSION_DENIED", "PC4001"),
        ("review", "PERMISSION_DENIED", "PC4001"),
        ("cut", "PERMISSION_DENIED", "PC4001"),
        ("entry", "PERMISSION_DENIED", "PC2060"),
        ("stale", "UNAVAILABLE", "PC4002"),
        ("unreadable", "UNAVAILABLE", "PC9002"),
    ],
)
async def test_a_revocation_ends_the_stream_and_nothing_opens_it_again(
    stage, how, status, code, monkeypatch
):
    entry = stage.register(US)
    async with stage.workload() as workload:
        await workload("watch")
        await workload("x509")
        began = time.time()
        await _revoked(stage, how, entry, monkeypatch)
        watched = await workload("watched")
        again = await workload.tries("x509")
        source = await workload.tries("open_source", seconds=0.5)
    assert status in watched["end"]
    assert watched["at"] - began < (2 if how in {"entry", "unreadable"} else 1)
    assert status in again
    assert code in again
    assert "Timeout" in source
    refusals = [event for event in stage.log.events if event.verdict == "deny"]
    assert {event.code for event in refusals} == {code}
    assert {event.principal for event in refusals} == {AGENT if code == "PC4001" else ""}


async def test_nothing_is_handed_out_that_cannot_be_recorded(stage):
    stage.register(US)
    stage.log.full = True
    async with stage.workload() as workload:
        x509 = await workload.tries("x509")
        jwt = await workload.tries("jwt", audience=["billing"])
    assert "UNAVAILABLE" in x509
    assert "PC6001" in x509
    assert "PC6001" in jwt


async def test_a_caller_without_an_entry_gets_nothing(stage):
    stage.register("unix:uid:4242")
    async with stage.workload() as workload:
        answers = [
            await workload.tries("x509"),
            await workload.tries("x509_bundles"),
            await workload.tries("jwt_bundles"),
            await workload.tries("jwt", audience=["billing"]),
            await workload.tries("validate", audience="billing", token="a.b.c"),  # noqa: S106 - no secret
        ]
    assert all("PERMISSION_DENIED" in answer and "PC2060" in answer for answer in answers)
    assert [event.code for event in stage.log.events] == ["PC2060"] * 5
    assert stage.log.events[0].source.startswith(f"uid:{os.geteuid()} pid:{workload.pid} exe:/")


async def test_a_request_without_the_security_header_is_refused(stage):
    stage.register(US)
    methods = {
        "FetchX509SVID": "X509SVIDRequest",
        "FetchX509Bundles": "X509BundlesRequest",
        "FetchJWTSVID": "JWTSVIDRequest",
        "FetchJWTBundles": "JWTBundlesRequest",
        "ValidateJWTSVID": "ValidateJWTSVIDRequest",
    }
    headers = (None, ("workload.spiffe.io", "false"), ("x", "true"))
    async with stage.workload() as workload:
        ends = [
            await workload("bare", method=method, request=request, header=header)
            for method, request in methods.items()
            for header in headers
        ]
    assert {end.partition(":")[0] for end in ends} == {"INVALID_ARGUMENT PC1011"}
    assert [event.code for event in stage.log.events] == ["PC1011"] * len(ends)


async def test_a_jwt_svid_without_audience_is_refused(stage):
    stage.register(US)
    header = ("workload.spiffe.io", "true")
    async with stage.workload() as workload:
        end = await workload("bare", method="FetchJWTSVID", request="JWTSVIDRequest", header=header)
    assert end.startswith("INVALID_ARGUMENT PC1020")


@needs_root
async def test_users_are_told_apart(stage):
    stage.register(f"unix:uid:{NOBODY}", f"unix:gid:{NOBODY}", f"unix:path:{PYTHON}")
    async with stage.workload(uid=NOBODY) as nobody, stage.workload() as root:
        assert (await nobody("x509"))["svids"][0]["id"] == ID
        assert "PC2060" in await root.tries("x509")


async def test_a_copied_interpreter_is_told_by_its_path_and_by_its_hash(stage, tmp_path):
    digest = hashlib.sha256(PYTHON.read_bytes()).hexdigest()
    stage.register(US, f"unix:sha256:{digest}", principal="by-hash")
    stage.register(US, f"unix:path:{PYTHON}", principal="by-path")
    python, environment = copied_python(tmp_path)
    async with (
        stage.workload() as right,
        stage.workload(python=python, environment=environment) as wrong,
    ):
        context = await right("x509")
        names = [svid["id"].rpartition("/")[2] for svid in context["svids"]]
        assert names == ["by-hash", "by-path"]
        assert "PC2060" in await wrong.tries("x509")
        stage.register(US, f"unix:path:{python}", principal="copy")
        assert (await wrong("x509"))["svids"][0]["id"].endswith("/agent/copy")
        python.unlink()
        assert "PC2060" in await wrong.tries("x509")


async def test_an_entry_made_later_is_found_at_once_and_pushed_to_open_streams(stage):
    stage.register(US)
    async with stage.workload() as workload:
        assert len((await workload("open_source"))["svids"]) == 1
        stage.register(US, principal="second")
        assert len((await workload("x509"))["svids"]) == 2


async def test_a_flood_of_calls_is_cut_short_and_does_not_flood_the_log(tmp_path):
    bounds = Bounds(burst=20, calls_per_second=0.001)
    async with staged(tmp_path, bounds=bounds) as stage, stage.workload() as workload:
        ends = await workload("calls", count=40)
    assert [end.split()[0] for end in ends].count("RESOURCE_EXHAUSTED") == 20
    assert len(stage.log.events) == 21
    assert stage.log.events[-1].code == "PC5025"


async def test_a_flood_of_connections_is_bounded(tmp_path):
    bounds = Bounds(connections_per_user=8, connections=10, handshake_seconds=1)
    async with staged(tmp_path, bounds=bounds) as stage:
        stage.register(US)
        sockets = [_connected(stage.path) for _ in range(30)]
        await asyncio.sleep(0.3)
        assert sum(map(_is_open, sockets)) == 8
        assert [event.code for event in stage.log.of("workload.connect")] == ["PC5025"]
        await asyncio.sleep(1.5)  # they never spoke HTTP/2
        assert not any(map(_is_open, sockets))
        async with stage.workload() as workload:
            assert (await workload("x509"))["svids"][0]["id"] == ID
        for connection in sockets:
            connection.close()


async def test_a_connection_that_takes_nothing_in_is_closed(tmp_path):
    async with staged(tmp_path, bounds=Bounds(keepalive_seconds=0.5)) as stage:
        connection = _connected(stage.path)
        empty_settings = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + empty_settings)
        await asyncio.sleep(0.3)
        assert _is_open(connection)
        await asyncio.sleep(2)  # no answer to gRPC's pings
        assert not _is_open(connection)
        connection.close()


async def test_connections_leave_nothing_behind(stage, others):
    stage.register(US)
    before = _handles()
    [private] = set(_private_sockets()) - others
    async with stage.workload() as workload:
        await workload("open_source")
        await workload("open_jwt_source")
        assert _handles() > before + 5
        assert [each.name for each in private.parent.iterdir()] == [private.name]
    for _ in range(300):  # the process was killed with its streams open
        if _handles() <= before + 1:
            break
        await asyncio.sleep(0.1)
    assert _handles() <= before + 1


async def test_grpcs_own_socket_is_closed_to_others_and_serves_nobody(stage, others):
    stage.register(US)
    [private] = set(_private_sockets()) - others
    assert private.parent.stat().st_mode & 0o777 == 0o700
    header = ("workload.spiffe.io", "true")
    async with stage.workload(socket=private) as intruder:
        end = await intruder(
            "bare", method="FetchX509SVID", request="X509SVIDRequest", header=header
        )
    assert end.startswith("PERMISSION_DENIED PC2060")
    if os.geteuid() == 0:
        async with stage.workload(socket=private, uid=NOBODY) as intruder:
            end = await intruder(
                "bare", method="FetchX509SVID", request="X509SVIDRequest", header=header
            )
        assert end.startswith("UNAVAILABLE")


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": False})])
async def test_it_serves_on_pythons_own_loop_as_well(stage):
    stage.register(US)
    async with stage.workload() as workload:
        [first] = (await workload("open_source"))["svids"]
        await asyncio.to_thread(stage.authority.rotate, "root")
        assert len((await workload("source_update"))["bundles"][DOMAIN]) == 2
        assert await workload("jwt", audience=["billing"])
        assert first["id"] == ID


def _connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    connection.settimeout(0)
    return connection


def _private_sockets() -> list[Path]:
    """gRPC's own sockets of this process: those that listen in a folder of ours."""
    inodes = set()
    for handle in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(str(handle.readlink()).removeprefix("socket:[").removesuffix("]"))
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    listening = "00010000"
    return [
        Path(row[7])
        for row in rows
        if len(row) > 7 and row[3] == listening and row[6] in inodes and row[7].endswith("/grpc")
    ]


def _handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _is_open(connection: socket.socket) -> bool:
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
