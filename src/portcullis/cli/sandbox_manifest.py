"""``portcullis sandbox manifest``: a tool's box as Kubernetes objects."""

from __future__ import annotations

import json as codec
import re
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
import yaml

from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.config import Config, McpUpstream, load
from portcullis.config.boxed import NONE
from portcullis.config.cluster import Cluster
from portcullis.config.common import SECRET
from portcullis.config.sandbox import Sandboxing
from portcullis.core.errors import Problem
from portcullis.execution.sandbox import manifest as made
from portcullis.execution.sandbox import seccomp
from portcullis.execution.sandbox.manifest import Document

_PORTS: Final = 65536


def manifest(
    command: Annotated[
        list[str] | None, typer.Argument(help="The tool's command, after --, in place of --tool.")
    ] = None,
    *,
    tool: Annotated[
        str | None, typer.Option(help="A server under mcp that is a command, by its name.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="How it is held; default: the server's, or strict.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="Its image, best by digest; default: sandbox.kubernetes's.")
    ] = None,
    namespace: Annotated[str | None, typer.Option(help="Where; default: the same.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Where it listens for the gate; without, it is attached to.")
    ] = None,
    pool: Annotated[
        int | None,
        typer.Option(help="Print a template and a warm pool of this size (agent-sandbox) instead."),
    ] = None,
    syscalls: Annotated[
        bool, typer.Option("--syscalls", help="Print our list of system calls, for the nodes.")
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Print the pod of a tool, the policy that cuts it off and, with --port, its service.

    Secrets are named, never printed: a pod takes them from the Secret NAME-env.
    """
    if syscalls:
        print(codec.dumps(seccomp.oci(), indent=1))
        return
    there = config != DEFAULT_CONFIG or config.exists()
    found = load(config) if there else None
    server = _server(found, tool, command)
    settings = Sandboxing() if found is None else found.sandbox
    wanted = profile or ("strict" if server is None else server.sandbox)
    if wanted == NONE or wanted not in settings.named():
        raise Problem("PC7004", f"there is no profile {wanted}: {', '.join(settings.named())}")
    if port is not None and not 0 < port < _PORTS:
        raise Problem("PC7004", "--port is a port")
    if pool is not None and pool < 0:
        raise Problem("PC7004", "--pool is a number of boxes")
    argv = tuple(command or ()) if server is None else server.command or ()
    name = made.slug(tool or Path(argv[0]).name)
    place = _place(settings, image, namespace)
    place = msgspec.structs.replace(place, owner=f"tool-{name}")  # no gate's, which sweeps its own
    held = settings.named()[wanted]
    environ = () if server is None else _variables(server, f"{name}-env")
    pod = made.pod(name, held, place, command=argv, environ=environ, port=port)
    cut = made.policy(name, held, place, port=port)
    printed = (cut, pod) if port is None else (cut, pod, made.service(pod, port))
    if pool is not None:
        printed = made.pooled(pod, cut, pool)
    if json:
        print(codec.dumps(printed))
    else:
        print(yaml.safe_dump_all(printed, sort_keys=False), end="")


def _server(
    found: Config | None, tool: str | None, command: list[str] | None
) -> McpUpstream | None:
    """The server that is meant, None for a command of its own. Problem PC7004."""
    if (tool is None) == (not command):
        raise Problem("PC7004", "name a tool with --tool, or give a command after --")
    if tool is None:
        return None
    server = None if found is None else found.mcp.get(tool)
    if server is None or server.command is None:
        raise Problem("PC7004", f"mcp has no {tool} that is a command")
    if server.mounts:
        raise Problem("PC7004", f"{tool} has mounts, and a pod has no directory of this machine")
    return server


def _place(settings: Sandboxing, image: str | None, namespace: str | None) -> made.Place:
    cluster = settings.kubernetes
    if cluster is None:
        if image is None:
            raise Problem("PC7004", "name an --image, or one in sandbox.kubernetes")
        cluster = _checked(image)
    place = made.place(cluster)
    if image is not None:
        place = msgspec.structs.replace(place, image=_checked(image).image)
    if namespace is not None:
        place = msgspec.structs.replace(place, namespace=namespace)
    return place


def _checked(image: str) -> Cluster:
    try:
        return Cluster(image=image)
    except ValueError:
        raise Problem("PC7004", "--image is REGISTRY/NAME@sha256:DIGEST, or NAME:TAG") from None


def _variables(server: McpUpstream, secret: str) -> list[Document]:
    """The server's environment; what it has by reference it has from a Secret."""
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name}}}
        if re.match(SECRET, value)
        else {"name": name, "value": value}
        for name, value in server.env.items()
    ]
