"""``sandbox.kubernetes``: where in a cluster boxes are made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from portcullis.config.common import Section

DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


class Cluster(Section):
    """A namespace whose pods are boxes; ``deploy/kubernetes/overlays/boxes`` makes one.

    ``image`` has /bin/sh, env and what the tools need; name it by its digest. ``runtime_class``
    is the RuntimeClass of every box, null for the cluster's own. ``seccomp`` is the path of our
    list below the nodes' seccomp folder, where somebody has put it there; without it boxes have the
    runtime's. ``apparmor: false`` is for nodes without AppArmor. Without ``kubeconfig`` the
    gate is a pod itself, with a service account's token. Times are in seconds; ``longest_seconds``
    bounds a box that is wanted for as long as it lasts.
    """

    image: Annotated[str, Field(pattern=r"^[^\s@]+(@sha256:[0-9a-f]{64})?$")]
    namespace: DnsLabel = "portcullis-boxes"
    runtime_class: DnsLabel | None = "gvisor"
    service_account: DnsLabel = "box"
    owner: DnsLabel = "gate"
    """Whose boxes they are: at its start a gate removes what an earlier one of this name left."""
    seccomp: str | None = Field(default=None, pattern=r"^[\w.-]+(/[\w.-]+)*$")
    apparmor: bool = True
    kubeconfig: Path | None = None
    context: str | None = None
    start_seconds: float = Field(default=60, gt=0)
    longest_seconds: int = Field(default=86400, ge=1)
