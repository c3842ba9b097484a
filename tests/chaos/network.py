"""A network of the storm's own: a namespace for each part of the fleet, and a switch between them.

Every part reaches the others as 127.0.0.1, at their ports: what it sends there leaves its namespace
by a wire. So the fleet is configured as on one machine, and each way can be cut. Namespaces have no
names: they end with the process that made them, however it ends. Run within ``unshare --net``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

_NET = 0x40000000  # CLONE_NEWNET, sched.h
_HERE = "/proc/thread-self/ns/net"
_HUB = "10.99.0.1"
_LIBC = ctypes.CDLL(None, use_errno=True)
_FILTERED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
DROPS = "chaos"
"""The comment by which our rules are found again."""


def _run(*words: object) -> str:
    done = subprocess.run(
        [str(word) for word in words], check=False, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def _called(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Network:
    """``parts`` are the names of the namespaces; ``services`` are who listens, and at which port.

    The switch is where this process is; it is called ``hub``.
    """

    def __init__(self, parts: tuple[str, ...], services: Iterable[tuple[str, int]]) -> None:
        self._places = {"hub": os.open(_HERE, os.O_RDONLY)}
        self._addresses = {"hub": _HUB}
        _run("ip", "link", "set", "lo", "up")
        if _FILTERED.exists():  # of this namespace: what passes the switch is not translated twice
            _FILTERED.write_text("0")
        _run("ip", "link", "add", "switch", "type", "bridge")
        _run("ip", "addr", "add", f"{_HUB}/24", "dev", "switch")
        _run("ip", "link", "set", "switch", "up")
        for number, name in enumerate(parts, 2):
            self._add(name, number)
        for name in self._places:
            self._lead(name, services)

    def _add(self, name: str, number: int) -> None:
        """Make a namespace and its wire to the switch."""
        _called(_LIBC.unshare(_NET))
        try:
            place = self._places[name] = os.open(_HERE, os.O_RDONLY)
        finally:
            _called(_LIBC.setns(self._places["hub"], _NET))
        self._addresses[name] = f"10.99.0.{number}"
        path = f"/proc/{os.getpid()}/fd/{place}"
        _run("ip", "link", "add", f"to-{number}", "type", "veth", "peer", "eth0", "netns", path)
        _run("ip", "link", "set", f"to-{number}", "master", "switch", "up")
        with self.inside(name):
            _run("ip", "addr", "add", f"{self._addresses[name]}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _run("ip", "link", "set", device, "up")

    def _lead(self, name: str, services: Iterable[tuple[str, int]]) -> None:
        """What goes to a service at 127.0.0.1 goes to who has it; what comes for ours is let in."""
        with self.inside(name):
            Path("/proc/sys/net/ipv4/conf/all/route_localnet").write_text("1")
            for owner, port in services:
                to = f"127.0.0.1:{port}" if owner == name else f"{self._addresses[owner]}:{port}"
                chain = "PREROUTING" if owner == name else "OUTPUT"
                where = self._addresses[name] if owner == name else "127.0.0.1"
                rule = ("-A", chain, "-p", "tcp", "-d", where, "--dport", port, "-j", "DNAT")
                _run("iptables", "-w", "-t", "nat", *rule, "--to-destination", to)
            out = "switch" if name == "hub" else "eth0"
            _run("iptables", "-w", "-t", "nat", "-A", "POSTROUTING", "-o", out, "-j", "MASQUERADE")

    @contextlib.contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """What this thread starts and opens meanwhile is in that namespace. Nothing is awaited."""
        _called(_LIBC.setns(self._places[name], _NET))
        try:
            yield
        finally:
            _called(_LIBC.setns(self._places["hub"], _NET))

    def cut(self, one: str, other: str) -> None:
        """Nothing arrives from one at the other, in both directions."""
        for here, there in ((one, other), (other, one)):
            with self.inside(here):
                self._drop("-s", self._addresses[there])

    def lose(self, name: str, share: float) -> None:
        """So much of what arrives at a part from the network, and of what it sends, is lost."""
        with self.inside(name):
            chance = ("-m", "statistic", "--mode", "random", "--probability", share)
            self._drop("-i", "eth0", *chance)
            self._drop("-o", "eth0", *chance, chain="OUTPUT")

    @staticmethod
    def _drop(*rule: object, chain: str = "INPUT") -> None:
        named = ("-m", "comment", "--comment", DROPS)
        _run("iptables", "-w", "-A", chain, *rule, *named, "-j", "DROP")

    def mend(self) -> int:
        """Take all of that back; how many packets were dropped."""
        dropped = 0
        for name in self._places:
            with self.inside(name):
                for line in _run("iptables-save", "-c", "-t", "filter").splitlines():
                    count, _, rule = line.partition(" ")
                    if f"--comment {DROPS}" in rule:
                        dropped += int(count.strip("[]").partition(":")[0])
                        _run("iptables", "-w", "-D", *rule.split()[1:])
        return dropped
