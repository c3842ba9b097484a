"""The stage of ``bench sandbox``'s egress: a host, a gate, a launcher, a bridge, each a process."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from portcullis.bench import gate
from portcullis.bench.identity_load import tls_of
from portcullis.bench.identity_stage import Stage
from portcullis.bench.subjects import end, free_ports, ready, spawn
from portcullis.client.svid import Svid
from portcullis.core.errors import Problem
from portcullis.execution.launch import bridge

HOST: Final = "host.bench.test"
_AGENT: Final = "agent-000"
_ROLE: Final = "role_0"
_SECONDS: Final = 20.0
_SLEEPS: Final = "import ctypes, time; ctypes.CDLL(None).prctl(1, 9); time.sleep(3600)"
"""What the bridge is given to run: it ends with the bridge (PR_SET_PDEATHSIG)."""


@dataclass(frozen=True, slots=True)
class Way:
    """Where the host is, whom the client trusts, and by what it goes; by nothing is direct.

    ``box`` is the launcher's socket, ``bridge`` the port of what stands before it in a box;
    ``egress`` is the gate's listener, under ``identity``.
    """

    port: int
    trust: ssl.SSLContext
    box: Path | None = None
    bridge: int | None = None
    egress: int | None = None
    identity: ssl.SSLContext | None = None


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[dict[str, Way]]:
    """The ways to the host; all that is on them are children, ended with the block."""
    host, near, plain, control, mtls, egress, front = free_ports(7)
    _certificates(folder)
    config = gate.configuration(
        folder, gate=plain, control=control, upstream=f"http://127.0.0.1:{plain}", mtls=mtls
    )
    _with_egress(folder, config, (host, near), egress)
    stub = (sys.executable, "-m", "portcullis.bench.sandbox_stub", str(host), str(near))
    with contextlib.ExitStack() as stack:
        for name, argv in (
            ("host", (*stub, str(folder / "host.pem"), str(folder / "host.key"))),
            ("gate", gate.command(config)),
        ):
            output = stack.enter_context((folder / f"{name}.output").open("w+b"))
            child = spawn(argv, output)
            stack.callback(end, child)
            if name == "gate":
                ready(name, child, control, "/readyz")
        output_ = folder / "gate.output"
        stage = Stage(config, gate=plain, control=control, mtls=mtls, output=output_)
        trust = ssl.create_default_context(cafile=str(folder / "hosts.pem"))
        svid = stage.enrol(_AGENT)
        box = _launcher(stack, folder, svid, egress)
        _bridge(stack, folder, front, box)
        yield {
            "direct": Way(host, trust),
            "gate": Way(host, trust, box=box),
            "boxed": Way(host, trust, bridge=front),
            "fresh": Way(host, trust, egress=egress, identity=tls_of(svid)),
            "near_direct": Way(near, trust),
            "near_gate": Way(near, trust, box=box),
        }


def _launcher(stack: contextlib.ExitStack, folder: Path, svid: Svid, egress: int) -> Path:
    """Start what stands outside of a box; its socket. Problem PC7007 when there is none."""
    held, path = folder / "svid.json", folder / "egress"
    held.write_bytes(msgspec.json.encode(svid))
    url = f"https://localhost:{egress}"
    program = (sys.executable, "-m", "portcullis.bench.sandbox_launcher")
    output = stack.enter_context((folder / "launcher.output").open("w+b"))
    child = spawn((*program, str(held), url, str(path)), output)
    stack.callback(end, child)
    until = time.monotonic() + _SECONDS
    while not path.is_socket():
        if child.poll() is not None or time.monotonic() > until:
            raise Problem("PC7007", "the launcher does not listen")
        time.sleep(0.02)
    return path


def _bridge(stack: contextlib.ExitStack, folder: Path, port: int, box: Path) -> None:
    """Start what stands in a box before the launcher's socket. Problem PC7007 as above."""
    program = (sys.executable, "-I", "-S", bridge.__file__, "--forward", f"{port}={box}")
    output = stack.enter_context((folder / "bridge.output").open("w+b"))
    child = spawn((*program, "--", sys.executable, "-I", "-S", "-c", _SLEEPS), output)
    stack.callback(end, child)
    until = time.monotonic() + _SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        if child.poll() is not None or time.monotonic() > until:
            raise Problem("PC7007", "the bridge does not listen")
        time.sleep(0.02)


def _with_egress(folder: Path, config: Path, hosts: Sequence[int], egress: int) -> None:
    """Add the listener to a gate's configuration, and the host to a role."""
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["listen"]["egress"] = f"127.0.0.1:{egress}"
    settings["egress"] = {
        "resolve": {HOST: ["127.0.0.1"]},
        "private": {HOST: ["127.0.0.0/8"]},
        "authorities": str(folder / "hosts.pem"),
    }
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    path = folder / "policy" / "main.yaml"
    policy = yaml.safe_load(path.read_text(encoding="utf-8"))
    policy["roles"][_ROLE]["egress"] = [{"host": HOST, "ports": [*hosts]}]
    path.write_text(yaml.safe_dump(policy, sort_keys=False), encoding="utf-8")


def _certificates(folder: Path) -> None:
    """An authority of the host's own, and what the host shows."""
    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.now(UTC)
    for key, path, ca in ((root, "hosts", True), (leaf, "host", False)):
        builder = (
            x509.CertificateBuilder()
            .subject_name(name if ca else x509.Name([]))
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=12))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            names = x509.SubjectAlternativeName([x509.DNSName(HOST)])
            builder = builder.add_extension(names, critical=True)
        made = builder.sign(root, hashes.SHA256())
        (folder / f"{path}.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "host.key").write_bytes(
        leaf.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
