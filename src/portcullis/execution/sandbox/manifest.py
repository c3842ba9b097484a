"""A box as Kubernetes objects: the pod, and the policy that cuts it off.

Documents are as the API takes them (core/v1, networking.k8s.io/v1, and those of
kubernetes-sigs/agent-sandbox, v1beta1). What is written into a cluster can be read there by many,
so a pod that the gate makes holds neither a command nor a variable: it gets both by its standard
input (``LAUNCHER``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from portcullis.config.cluster import Cluster
from portcullis.core.sandbox import Network, Profile

Document: TypeAlias = dict[str, Any]

CONTAINER: Final = "box"
LABEL: Final = "portcullis.network"
"""The label of a pod that says what of a network it is to have."""
LAUNCHER: Final = (
    "/bin/sh",
    "-c",
    (
        "while IFS= read -r line; do"
        ' case $line in .) cd "$1" && shift && exec /usr/bin/env -i "$@"; exit 126;; esac;'
        ' word=$(printf %b. "${line#+}"); set -- "$@" "${word%.}";'
        " done; exit 125"
    ),
    "box",
)
"""Reads words, one a line, then a dot: a directory, variables, the command. Without the dot nothing
is run."""
_GATE_LABELS: Final = {
    "app.kubernetes.io/name": "portcullis",
    "app.kubernetes.io/component": "gate",
}
_GATE_PORTS: Final = (7302, 7303)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where in a cluster boxes are, and on what; ``seconds`` bounds one without a bound."""

    image: str
    namespace: str = "portcullis-boxes"
    runtime_class: str | None = "gvisor"
    service_account: str = "box"
    owner: str = "gate"
    seccomp: str | None = None
    apparmor: bool = True
    seconds: int = 86400
    starting: int = 0
    """Seconds that a pod has to start in, beside those of its box."""
    gate_namespace: str = "portcullis"


def place(cluster: Cluster) -> Place:
    """The place that the configuration names."""
    return Place(
        image=cluster.image,
        namespace=cluster.namespace,
        runtime_class=cluster.runtime_class,
        service_account=cluster.service_account,
        owner=cluster.owner,
        seccomp=cluster.seccomp,
        apparmor=cluster.apparmor,
        seconds=cluster.longest_seconds,
        starting=math.ceil(cluster.start_seconds),
    )


def words(cwd: str, environ: Mapping[str, str], argv: Sequence[str]) -> bytes:
    """What ``LAUNCHER`` reads: a line for each word, with ``printf``'s escapes, and a dot."""
    every = (cwd, *(f"{name}={value}" for name, value in environ.items()), *argv)
    return b"".join(b"+%s\n" % _escaped(word) for word in every) + b".\n"


def _escaped(word: str) -> bytes:
    return word.encode().replace(b"\\", b"\\\\").replace(b"\n", b"\\n")


def slug(title: str) -> str:
    """A title as a DNS label of at most 40 characters."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40].strip("-") or "box"


def labels(profile: Profile, place: Place) -> dict[str, str]:
    """What a box's pod is found by."""
    return {
        "app.kubernetes.io/part-of": "portcullis",
        "app.kubernetes.io/component": "box",
        "app.kubernetes.io/instance": place.owner,
        LABEL: profile.network.value,
    }


def pod(
    name: str,
    profile: Profile,
    place: Place,
    *,
    command: Sequence[str] = LAUNCHER,
    environ: Sequence[Document] = (),
    port: int | None = None,
) -> Document:
    """One box. Its standard input is there for one who attaches, once."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": place.namespace,
            "labels": labels(profile, place),
        },
        "spec": _spec(profile, place, command=command, environ=environ, port=port),
    }


def _spec(
    profile: Profile,
    place: Place,
    *,
    command: Sequence[str],
    environ: Sequence[Document],
    port: int | None,
) -> Document:
    runtime = {} if place.runtime_class is None else {"runtimeClassName": place.runtime_class}
    seccomp: Document = {"type": "RuntimeDefault"}
    if place.seccomp is not None:
        seccomp = {"type": "Localhost", "localhostProfile": place.seccomp}
    apparmor = {"appArmorProfile": {"type": "RuntimeDefault"}} if place.apparmor else {}
    seconds = place.seconds if profile.seconds is None else math.ceil(profile.seconds)
    lasts: Document = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": max(1, seconds + place.starting),
    }
    if port is not None and profile.seconds is None:
        lasts = {"restartPolicy": "Always"}
    return (
        runtime
        | lasts
        | {
            "terminationGracePeriodSeconds": 1,
            "serviceAccountName": place.service_account,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "hostUsers": False,
            "hostname": "sandbox",
            "dnsPolicy": "None",
            "dnsConfig": {"nameservers": ["127.0.0.1"]},
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": profile.uid,
                "runAsGroup": profile.uid,
                "seccompProfile": seccomp,
            }
            | apparmor,
            "containers": [_container(profile, place, command=command, environ=environ, port=port)],
            "volumes": [
                {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": str(profile.tmp)}},
                {
                    "name": "scratch",
                    "emptyDir": {"medium": "Memory", "sizeLimit": str(profile.scratch)},
                },
            ],
        }
    )


def _container(
    profile: Profile,
    place: Place,
    *,
    command: Sequence[str],
    environ: Sequence[Document],
    port: int | None,
) -> Document:
    spoken: Document = {"stdin": True, "stdinOnce": True}
    if port is not None:
        spoken = {"ports": [{"name": "tool", "containerPort": port}]}
    return spoken | {
        "name": CONTAINER,
        "image": place.image,
        "imagePullPolicy": "Always",
        "command": list(command),
        "env": list(environ),
        "workingDir": "/scratch",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {
            "requests": {
                "cpu": f"{round(min(profile.cpu, 0.1) * 1000)}m",
                "memory": str(profile.memory),
                "ephemeral-storage": "1Mi",
            },
            "limits": {
                "cpu": f"{round(profile.cpu * 1000)}m",
                "memory": str(profile.memory),
                "ephemeral-storage": "16Mi",
            },
        },
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a place in the box
            {"name": "scratch", "mountPath": "/scratch"},
        ],
    }


def policy(name: str, profile: Profile, place: Place, *, port: int | None = None) -> Document:
    """What a box may reach, and who reaches it: nothing and nobody, or only the gate."""
    gate = [
        {
            "namespaceSelector": {
                "matchLabels": {"kubernetes.io/metadata.name": place.gate_namespace}
            },
            "podSelector": {"matchLabels": _GATE_LABELS},
        }
    ]
    spec: Document = {
        "podSelector": {"matchLabels": labels(profile, place)},
        "policyTypes": ["Ingress", "Egress"],
    }
    if port is not None:
        spec["ingress"] = [{"from": gate, "ports": [{"protocol": "TCP", "port": port}]}]
    if profile.network is Network.GATE:
        ports = [{"protocol": "TCP", "port": one} for one in _GATE_PORTS]
        spec["egress"] = [{"to": gate, "ports": ports}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": place.namespace},
        "spec": spec,
    }


def service(made: Document, port: int) -> Document:
    """The name under which the gate finds a pod that listens."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {key: made["metadata"][key] for key in ("name", "namespace")},
        "spec": {
            "selector": made["metadata"]["labels"],
            "ports": [{"name": "tool", "port": port, "targetPort": "tool"}],
        },
    }


def pooled(made: Document, cut: Document, size: int) -> tuple[Document, Document]:
    """The same as a SandboxTemplate and a SandboxWarmPool of kubernetes-sigs/agent-sandbox.

    The policy is the template's own, in its terms: left out, the controller would open the
    internet to it. How long a box may live is said by whoever claims one.
    """
    metadata = {key: made["metadata"][key] for key in ("name", "namespace")}
    rules = {way: cut["spec"].get(way, []) for way in ("ingress", "egress")}
    spec = {key: value for key, value in made["spec"].items() if key != "activeDeadlineSeconds"}
    template: Document = {
        "apiVersion": "extensions.agents.x-k8s.io/v1beta1",
        "kind": "SandboxTemplate",
        "metadata": metadata,
        "spec": {
            "podTemplate": {
                "metadata": {"labels": made["metadata"]["labels"]},
                "spec": spec,
            },
            "envVarsInjectionPolicy": "Disallowed",
            "networkPolicyManagement": "Managed",
            "networkPolicy": rules,
        },
    }
    pool: Document = {
        "apiVersion": "extensions.agents.x-k8s.io/v1beta1",
        "kind": "SandboxWarmPool",
        "metadata": metadata,
        "spec": {"replicas": size, "sandboxTemplateRef": {"name": metadata["name"]}},
    }
    return template, pool
