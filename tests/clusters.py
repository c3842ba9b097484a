"""A stand-in API server with a kubelet: pods become boxes of bubblewrap's.

It speaks what ``execution.sandbox.kubernetes`` asks for, in the documented shapes (core/v1, the
v5 channel protocol), and holds every object that it is given against the API's schemas. What a pod
asks for it has: user, name, read-only root, sizes. Whether policies cut it off is the network's
affair (``enforces``), and how many processes it may have is the kubelet's (``pids``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import kubernetes_validate
from aiohttp import WSMsgType, web

VERSION = "1.33"
DENY = {
    "metadata": {"name": "default-deny"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
}


class StandinCluster:
    """What is in it: ``pods`` that are there, ``made`` that ever were, ``policies``."""

    def __init__(self) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.made: list[dict[str, Any]] = []
        self.deleted: list[tuple[str, int]] = []
        self.policies: list[dict[str, Any]] = [DENY]
        self.enforces, self.pids, self.starved = True, "max", False
        self.minor = "33"
        self.waiting, self.slow = "", 0.0
        self.protocols: list[str] = []
        self.token = "standin-token"  # noqa: S105 - of no server
        self._folder = Path()
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._killing: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serving(self, folder: Path):
        """Serve on loopback; the kubeconfig that leads there."""
        self._folder = folder
        application = web.Application(middlewares=[self._known])
        here = "/api/v1/namespaces/{namespace}/pods"
        application.add_routes(
            [
                web.get("/version/", self._version),
                web.get("/apis/node.k8s.io/v1/runtimeclasses/{name}", self._handler),
                web.get(
                    "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies",
                    self._policies,
                ),
                web.post(here, self._create),
                web.get(here, self._list),
                web.get(here + "/{name}", self._read),
                web.delete(here + "/{name}", self._delete),
                web.get(here + "/{name}/attach", self._attach),
            ]
        )
        runner = web.AppRunner(application, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "gate", "user": {"token": self.token}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "gate"}}],
        }
        path = folder / "kubeconfig"
        path.write_text(json.dumps(config))
        try:
            yield path
        finally:
            for process in self._processes.values():
                _kill(process)
            await runner.cleanup()

    def processes(self) -> list[int]:
        """Those of pods, while they run."""
        return [one.pid for one in self._processes.values() if one.returncode is None]

    @web.middleware
    async def _known(self, request, handler):
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return _status(401, "Unauthorized")
        return await handler(request)

    async def _version(self, _request):
        return web.json_response(
            {
                "major": "1",
                "minor": self.minor,
                "gitVersion": f"v1.{self.minor}.0",
                "gitCommit": "",
                "gitTreeState": "clean",
                "buildDate": "2026-01-01T00:00:00Z",
                "goVersion": "go1.24",
                "compiler": "gc",
                "platform": "linux/amd64",
            }
        )

    async def _handler(self, request):
        name = request.match_info["name"]
        found = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "runsc"}
        if name != "gvisor":
            return _status(404, "NotFound")
        return web.json_response(found | {"metadata": {"name": name}})

    async def _policies(self, _request):
        kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicyList"}
        return web.json_response(kind | {"metadata": {}, "items": self.policies})

    async def _create(self, request):
        pod = await request.json()
        kubernetes_validate.validate(pod, VERSION, strict=True)
        if request.query.get("fieldValidation") != "Strict":
            return _status(400, "BadRequest")
        name = pod["metadata"]["name"]
        if name in self.pods:
            return _status(409, "AlreadyExists")
        await asyncio.sleep(self.slow)
        container = pod["spec"]["containers"][0]
        pod["status"] = {"phase": "Pending", "containerStatuses": [_container(container, {})]}
        self.made.append(json.loads(json.dumps(pod)))
        self.pods[name] = pod
        if self.waiting:
            state = {"waiting": {"reason": self.waiting}}
            pod["status"]["containerStatuses"] = [_container(container, state)]
            return web.json_response(pod, status=201)
        self._processes[name] = await asyncio.create_subprocess_exec(
            *self._boxed(pod["spec"], container),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={},
            start_new_session=True,
        )
        state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        pod["status"] = {"phase": "Running", "containerStatuses": [_container(container, state)]}
        return web.json_response(pod, status=201)

    def _boxed(self, spec, container):
        """The command that is the pod, as far as bubblewrap has what it asks for."""
        inside = spec["securityContext"]
        bounds = container["resources"]["limits"]
        groups = self._folder / "cgroup"
        groups.mkdir(exist_ok=True)
        (groups / "memory.max").write_text(bounds["memory"])
        (groups / "pids.max").write_text(self.pids)
        (groups / "cpu.max").write_text(f"{int(bounds['cpu'].removesuffix('m')) * 100} 100000")
        sizes = {one["name"]: one["emptyDir"]["sizeLimit"] for one in spec["volumes"]}
        volumes = [
            word
            for one in container["volumeMounts"]
            for word in ("--size", sizes[one["name"]], "--tmpfs", one["mountPath"])
        ]
        user, group = str(inside["runAsUser"]), str(inside["runAsGroup"])
        sealed = container["securityContext"]
        return (
            *("bwrap", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
            *(("--unshare-net",) if self.enforces else ()),
            *("--die-with-parent", "--new-session", "--uid", user, "--gid", group),
            *("--hostname", spec["hostname"], "--cap-drop", *sealed["capabilities"]["drop"]),
            *("--clearenv", "--setenv", "KUBERNETES_SERVICE_HOST", "10.0.0.1"),
            *("--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin"),
            *("--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
            *("--proc", "/proc", "--dev", "/dev", *volumes),
            *("--ro-bind", str(groups), "/sys/fs/cgroup", "--chdir", container["workingDir"]),
            *(("--remount-ro", "/") if sealed["readOnlyRootFilesystem"] else ()),
            *("--", *container["command"]),
        )

    async def _list(self, request):
        wanted = dict(one.split("=") for one in request.query["labelSelector"].split(","))
        found = [pod for pod in self.pods.values() if wanted.items() <= _labels(pod).items()]
        return web.json_response(
            {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": found}
        )

    async def _read(self, request):
        found = self.pods.get(request.match_info["name"])
        return _status(404, "NotFound") if found is None else web.json_response(found)

    async def _delete(self, request):
        name = request.match_info["name"]
        found = self.pods.get(name)
        if found is None:
            return _status(404, "NotFound")
        grace = int(request.query["gracePeriodSeconds"])
        self.deleted.append((name, grace))
        killing = asyncio.ensure_future(self._end(name))
        self._killing.add(killing)
        killing.add_done_callback(self._killing.discard)
        if grace == 0:
            self.pods.pop(name, None)
        return web.json_response(found)

    async def _end(self, name):
        process = self._processes.get(name)
        if process is not None:
            _kill(process)
            await process.wait()
        self.pods.pop(name, None)

    async def _attach(self, request):
        self.protocols.append(request.headers["Sec-WebSocket-Protocol"])
        socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io",))
        await socket.prepare(request)
        name = request.match_info["name"]
        process = self._processes[name]
        feeding = asyncio.ensure_future(_feed(socket, process.stdin))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_tell(socket, 1, process.stdout))
                group.create_task(_tell(socket, 2, process.stderr))
            self._terminated(name, await process.wait())
            await socket.send_bytes(b"\3" + json.dumps({"status": "Success"}).encode())
        except* (ConnectionError, OSError):
            _kill(process)
        finally:
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeding
            await socket.close()
        return socket

    def _terminated(self, name, status):
        if (pod := self.pods.get(name)) is None:
            return
        code = 128 - status if status < 0 else status
        why = "OOMKilled" if self.starved else "Error" if code else "Completed"
        state = {"terminated": {"exitCode": code, "reason": why}}
        container = pod["spec"]["containers"][0]
        phase = "Failed" if code else "Succeeded"
        pod["status"] = {"phase": phase, "containerStatuses": [_container(container, state)]}


async def _feed(socket, stdin):
    """To standard input; it ends with the stream, as ``stdinOnce`` has it."""
    try:
        async for message in socket:
            if message.type is not WSMsgType.BINARY:
                break
            if message.data[0] == 255:
                break
            stdin.write(message.data[1:])
            await stdin.drain()
    except ConnectionError:
        return
    finally:
        stdin.close()


async def _tell(socket, channel, stream):
    while chunk := await stream.read(32768):
        await socket.send_bytes(bytes((channel,)) + chunk)


def _labels(pod):
    return pod["metadata"].get("labels", {})


def _container(container, state):
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": state,
    }


def _status(code, reason):
    said = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason}
    said |= {"code": code, "metadata": {}}
    return web.json_response(said, status=code, reason=reason)


def _kill(process):
    """End a pod with all that is in it, also one that bubblewrap is only just making."""
    if process.returncode is None:
        for pid in [*_below(process.pid), process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _below(pid):
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield int(child)
            yield from _below(int(child))
