"""If these fail, boxes in a cluster leak, outlive their end, or are said to hold what they do not.

The API server is a stand-in (``clusters``) whose pods are bubblewrap's boxes: what it cannot show
is a real cluster.
"""

import asyncio
import contextlib
import os

import pytest

from clusters import DENY, StandinCluster
from portcullis.config.cluster import Cluster
from portcullis.core.errors import Problem
from portcullis.core.sandbox import (
    Ending,
    Hold,
    Mount,
    Network,
    Order,
    Profile,
    Streams,
)
from portcullis.execution.sandbox.kubernetes import Kubernetes

pytestmark = pytest.mark.anyio
IMAGE = "registry.example.org/tools@sha256:" + "0" * 64
SHELL = Profile(demands=frozenset())
PATH = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
async def cluster(tmp_path):
    cluster = StandinCluster()
    async with cluster.serving(tmp_path) as path:
        cluster.settings = Cluster(image=IMAGE, kubeconfig=path, start_seconds=5)
        yield cluster
    assert cluster.processes() == []


@pytest.fixture
async def kubernetes(cluster):
    return Kubernetes(cluster.settings)


async def ran(kubernetes, *argv, stdin=b"", profile=SHELL, environ=PATH, **order):
    """What a command in a box said on both streams, and how it ended."""
    with contextlib.ExitStack() as stack:
        pipes = []
        for _ in range(3):
            read, write = os.pipe()
            pipes.append((read, write))
        for _, write in pipes[1:]:
            stack.callback(os.close, write)
        stack.callback(os.close, pipes[0][0])
        for read, _ in pipes[1:]:
            stack.callback(os.close, read)
        streams = Streams(stdin=pipes[0][0], stdout=pipes[1][1], stderr=pipes[2][1])
        order = Order(title="mcp:a tool", argv=argv, profile=profile, environ=environ, **order)
        async with asyncio.timeout(10):
            try:
                box = await kubernetes.start(order, streams)
            except BaseException:
                os.close(pipes[0][1])
                raise
            os.write(pipes[0][1], stdin)
            os.close(pipes[0][1])
            try:
                ended = await box.wait()
            finally:
                await box.close()
        said = []
        for read, _ in pipes[1:]:
            os.set_blocking(read, False)
            with contextlib.suppress(BlockingIOError):
                said.append(os.read(read, 65536))
            said += [b""] * (len(said) < len(pipes[1:]) and read == pipes[1][0] and not said)
        return (*said, *[b""] * (2 - len(said)))[:2], ended


async def test_a_command_gets_its_words_its_variables_and_its_input_and_nothing_else(
    cluster, kubernetes
):
    script = 'printf "[%s]" "$@"; env; pwd; cat; echo bad >&2; exit 7'
    words = ("two\nlines\n", "", "\\n", "'$(id)'")
    (out, err), ended = await ran(
        kubernetes,
        *("/bin/sh", "-c", script, "sh", *words),
        stdin=b"spoken\0bytes",
        environ=PATH | {"KEY": "secret\nvalue"},
        cwd="/usr/lib",
    )
    assert out.startswith(b"[two\nlines\n][][\\n]['$(id)']")
    assert b"KEY=secret\nvalue" in out
    assert b"KUBERNETES" not in out
    assert b"\n/usr/lib\nspoken\0bytes" in out
    assert (err, ended.why, ended.status) == (b"bad\n", Ending.EXITED, 7)
    assert cluster.protocols[-1] == "v5.channel.k8s.io"
    written = str(cluster.made)
    assert "secret" not in written
    assert "printf" not in written.replace("printf %b. ", "")
    assert cluster.pods == {}


async def test_what_a_cluster_enforces_is_what_a_pod_saw(cluster):
    cluster.pids = "64"
    ability = await asyncio.to_thread(Kubernetes(cluster.settings).probe)
    held = {Hold.USER, Hold.CAPABILITIES, Hold.NO_NEW_PRIVILEGES, Hold.PROCESSES, Hold.NETWORK}
    held |= {Hold.IPC, Hold.HOSTNAME, Hold.READ_ONLY_ROOT, Hold.MEMORY, Hold.CPU, Hold.PIDS}
    held |= {Hold.TMP, Hold.SCRATCH, Hold.TERMINAL, Hold.KERNEL}
    assert ability.enforces == held
    assert ability.lacking.keys() == {Hold.SYSCALLS, Hold.APPARMOR, Hold.INSTRUCTIONS}
    assert ability.version == "v1.33.0"


@pytest.mark.parametrize("fault", ["unenforced", "opened", "no_policy"])
async def test_a_network_that_is_not_cut_is_never_called_cut(cluster, fault):
    opened = {"metadata": {"name": "dns"}, "spec": {"podSelector": {}, "egress": [{}]}}
    cluster.enforces = fault != "unenforced"
    cluster.policies = {"opened": [DENY, opened], "no_policy": []}.get(fault, [DENY])
    kubernetes = Kubernetes(cluster.settings)
    ability = await asyncio.to_thread(kubernetes.probe)
    assert Hold.NETWORK not in ability.enforces
    cluster.made.clear()
    with pytest.raises(Problem, match="network") as refused:
        await ran(kubernetes, "/bin/true", profile=Profile(demands=frozenset({Hold.NETWORK})))
    assert (refused.value.code, cluster.made) == ("PC5030", [])


async def test_a_bound_on_processes_is_the_kubelets_and_holds_for_profiles_that_allow_as_many(
    cluster,
):
    cluster.pids = "100"
    kubernetes = Kubernetes(cluster.settings)
    demanding = frozenset({Hold.PIDS})
    _, ended = await ran(kubernetes, "/bin/true", profile=Profile(pids=100, demands=demanding))
    assert ended.status == 0
    with pytest.raises(Problem) as refused:
        await ran(kubernetes, "/bin/true", profile=Profile(pids=99, demands=demanding))
    assert refused.value.code == "PC5030"


async def test_a_kill_ends_every_process_and_the_kubelet_confirms_it(cluster, kubernetes):
    reading, writing = os.pipe()
    order = Order(
        title="t",
        argv=("/bin/sh", "-c", "trap '' TERM HUP; sleep 60 & sleep 60"),
        profile=SHELL,
        environ=PATH,
    )
    try:
        async with asyncio.timeout(10):
            streams = Streams(stdin=reading, stdout=writing, stderr=writing)
            box = await kubernetes.start(order, streams)
            assert len(cluster.processes()) == 1
            await box.kill()
            assert (cluster.processes(), cluster.pods) == ([], {})
            assert (await box.wait()).why is Ending.KILLED
            assert cluster.deleted[-1][1] == 1
            await box.kill()
            await box.close()
    finally:
        os.close(reading)
        os.close(writing)


async def test_a_box_has_no_more_time_than_its_profile_says(cluster, kubernetes):
    await asyncio.to_thread(kubernetes.probe)
    profile = Profile(seconds=0.3, demands=frozenset())
    _, ended = await ran(kubernetes, "/bin/sleep", "30", profile=profile)
    assert ended.why is Ending.DEADLINE
    assert cluster.made[-1]["spec"]["activeDeadlineSeconds"] == 6


async def test_memory_that_ran_out_is_told_from_a_signal(cluster, kubernetes):
    await asyncio.to_thread(kubernetes.probe)
    for starved, why in ((False, Ending.SIGNALLED), (True, Ending.MEMORY)):
        cluster.starved = starved
        _, ended = await ran(kubernetes, "/bin/sh", "-c", "kill -9 $$")
        assert (ended.why, ended.status) == (why, 137)


@pytest.mark.parametrize("part", ["mount", "terminal", "network", "name"])
async def test_what_a_pod_cannot_have_is_refused_before_there_is_one(
    cluster, kubernetes, part, tmp_path
):
    await asyncio.to_thread(kubernetes.probe)
    cluster.made.clear()
    order = {
        "mount": {"mounts": (Mount(source=tmp_path, target="/data"),)},
        "terminal": {"terminal": True},
        "network": {"profile": Profile(network=Network.GATE, demands=frozenset())},
        "name": {},
    }[part]
    argv = ("A=b",) if part == "name" else ("/bin/true",)
    with pytest.raises(Problem) as refused:
        await ran(kubernetes, *argv, **order)
    assert (refused.value.code, cluster.made) == ("PC5032", [])


async def test_a_pod_that_never_starts_is_a_refusal_and_does_not_stay(cluster, kubernetes):
    await asyncio.to_thread(kubernetes.probe)
    cluster.waiting = "ImagePullBackOff"
    with pytest.raises(Problem, match="ImagePullBackOff") as refused:
        await ran(kubernetes, "/bin/true")
    assert (refused.value.code, cluster.pods) == ("PC5031", {})


async def test_an_old_cluster_and_a_stranger_to_it_enforce_nothing(cluster):
    cluster.minor = "32+"
    old = await asyncio.to_thread(Kubernetes(cluster.settings).probe)
    cluster.token = cluster.token[::-1]
    stranger = await asyncio.to_thread(Kubernetes(cluster.settings).probe)
    assert (old.enforces, stranger.enforces) == (frozenset(), frozenset())
    assert "1.32" in old.lacking[Hold.USER]
    assert "401" in stranger.lacking[Hold.USER]


async def test_what_a_gate_left_behind_is_removed_by_the_next_of_its_name(cluster):
    left = {"app.kubernetes.io/component": "box", "app.kubernetes.io/instance": "gate"}
    for name, labels in (("mine", left), ("other", left | {"app.kubernetes.io/instance": "b"})):
        cluster.pods[name] = {"metadata": {"name": name, "labels": labels}, "status": {}}
    await asyncio.to_thread(Kubernetes(cluster.settings).probe)
    assert set(cluster.pods) == {"other"}


async def test_a_stream_that_breaks_ends_the_box(cluster, kubernetes):
    reading, writing = os.pipe()
    order = Order(title="t", argv=("/bin/sleep", "60"), profile=SHELL, environ=PATH)
    try:
        async with asyncio.timeout(10):
            streams = Streams(stdin=reading, stdout=writing, stderr=writing)
            box = await kubernetes.start(order, streams)
            try:
                box._socket._response.connection.transport.abort()
                ended = await box.wait()
            finally:
                await box.close()
    finally:
        os.close(reading)
        os.close(writing)
    assert ended.why is Ending.KILLED
    assert (cluster.processes(), cluster.pods) == ([], {})


async def test_whoever_stops_waiting_for_a_start_leaves_no_pod(cluster, kubernetes):
    await asyncio.to_thread(kubernetes.probe)
    cluster.made.clear()
    cluster.slow = 0.2
    starting = asyncio.ensure_future(ran(kubernetes, "/bin/sleep", "60"))
    await asyncio.sleep(0.1)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    for _ in range(600):
        if not kubernetes._abandoned:
            break
        await asyncio.sleep(0.05)
    assert (len(cluster.made), cluster.pods, cluster.processes()) == (1, {}, [])
