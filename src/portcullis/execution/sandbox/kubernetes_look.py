"""What a cluster enforces: a pod is made, and what is in it says what it sees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from portcullis.core.sandbox import Hold, Profile

LOOK: Final = r"""
cat /proc/self/status
echo "Here: $(id -u) $(uname -n)"
echo "Mapped: $(cat /proc/self/uid_map | tr -s ' ')"
for one in / /tmp /scratch; do ( : > $one/.look ) 2>/dev/null && echo "Writes: $one"; done
df -P -k /tmp /scratch | tail -n +2 | while read -r _ size _ _ _ place; do
    echo "Size$place: $size"
done
( : < /dev/tty ) 2>/dev/null && echo "Terminal: yes"
echo "Seen: $(ls -d /proc/[0-9]* | wc -l)"
for one in memory.max pids.max cpu.max; do echo "$one: $(cat /sys/fs/cgroup/$one)"; done
python3 -c '
import socket, sys
for one in sys.argv[1:]:
    host, _, port = one.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), 2).close()
        print("Reached: yes")
    except OSError:
        print("Cut: yes")
' "$@" && echo "Tried: yes"
ls /var/run/secrets/kubernetes.io >/dev/null 2>&1 && echo "Token: yes"
true
"""
"""For ``/bin/sh -c``, with addresses to be tried as arguments."""

_NEVER: Final = {
    Hold.INSTRUCTIONS: "its programs are not WebAssembly",
    Hold.APPARMOR: "what a node loads is not to be seen from a box",
}
_KERNELS: Final = frozenset({"runsc", "gvisor", "kata", "kata-qemu", "kata-clh", "kata-fc"})
"""Handlers of RuntimeClasses, under the names that their installers give them."""


def pairs(text: str) -> dict[str, str]:
    """Lines of ``name: value``; values of one name are joined."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found[key] = f"{found.get(key, '')} {' '.join(value.split())}".strip()
    return found


def held(
    seen: Mapping[str, str], profile: Profile, *, handler: str, cut: str, listed: bool
) -> tuple[frozenset[Hold], dict[Hold, str]]:
    """Which holds are proven, and of the others why not.

    ``handler`` is the RuntimeClass's, ``cut`` says why the namespace's policies do not cut boxes
    off (empty when they do), ``listed`` whether our list of system calls was asked for.
    """
    uid, host, *_ = (*seen.get("Here", "").split(), "", "")
    writes = seen.get("Writes", "").split()
    capabilities = {
        seen.get(f"Cap{one}", "?").strip("0") for one in ("Inh", "Prm", "Eff", "Bnd", "Amb")
    }
    own = handler in _KERNELS
    mapped = bool(seen.get("Mapped")) and seen["Mapped"] != "0 0 4294967295"
    tried = "Tried" in seen and "Reached" not in seen and "Cut" in seen
    proven = {
        Hold.USER: uid == str(profile.uid) and (mapped or own),
        Hold.NO_NEW_PRIVILEGES: seen.get("NoNewPrivs") == "1",
        Hold.CAPABILITIES: capabilities == {""},
        Hold.PROCESSES: 0 < number(seen, "Seen") < 12,  # noqa: PLR2004 - a shell and its pipes
        Hold.NETWORK: tried and not cut,
        Hold.IPC: host == "sandbox",  # a pod has both namespaces, or those of its node
        Hold.HOSTNAME: host == "sandbox",
        Hold.READ_ONLY_ROOT: "/" not in writes and "/tmp" in writes,  # noqa: S108 - in the box
        Hold.SYSCALLS: seen.get("Seccomp") == "2" and listed,
        Hold.MEMORY: 0 < number(seen, "memory.max") <= profile.memory,
        Hold.CPU: _processors(seen) <= profile.cpu,
        Hold.PIDS: 0 < number(seen, "pids.max") <= profile.pids,
        Hold.TMP: 0 < number(seen, "Size/tmp") * 1024 <= profile.tmp,
        Hold.SCRATCH: 0 < number(seen, "Size/scratch") * 1024 <= profile.scratch,
        Hold.TERMINAL: "Here" in seen and "Terminal" not in seen,
        Hold.KERNEL: own,
    }
    found = frozenset(hold for hold, yes in proven.items() if yes)
    why = {
        Hold.NETWORK: cut or "a pod reached the API server, or has no python3 to try with",
        Hold.PIDS: "the kubelet's podPidsLimit is not set, or above the profile's",
        Hold.SYSCALLS: "boxes have the runtime's list: see sandbox.kubernetes.seccomp",
        Hold.KERNEL: "the RuntimeClass is none that brings a kernel",
        Hold.USER: "the cluster has no user namespaces for pods (hostUsers)",
    } | _NEVER
    unseen = "a pod that was made to see did not have it"
    return found, {one: why.get(one, unseen) for one in Hold if one not in found}


def uncut(policies: Iterable[Any], labels: Mapping[str, str]) -> str:
    """Why these NetworkPolicies, as the API lists them, do not cut off a pod with these labels.

    Empty when one of them denies both ways and none that may select it opens anything.
    """
    denied = False
    for one in policies:
        selector = one["spec"].get("podSelector") or {}
        wanted = selector.get("matchLabels") or {}
        if any(labels.get(key) != value for key, value in wanted.items()):
            continue
        if one["spec"].get("ingress") or one["spec"].get("egress"):
            return f"the NetworkPolicy {one['metadata']['name']} lets something through"
        exact = not selector.get("matchExpressions")
        denied |= exact and {"Ingress", "Egress"} <= set(one["spec"].get("policyTypes") or ())
    return "" if denied else "no NetworkPolicy of the namespace denies both ways"


def number(seen: Mapping[str, str], key: str) -> int:
    """A number that was seen; 0 for none, and for ``max``."""
    text = seen.get(key, "")
    return int(text) if text.isdigit() else 0


def _processors(seen: Mapping[str, str]) -> float:
    quota, _, period = seen.get("cpu.max", "").partition(" ")
    bounded = quota.isdigit() and period.isdigit() and int(period) > 0
    return int(quota) / int(period) if bounded else float("inf")
