"""Servers as they are deployed: over TLS with users of their own, with a Sentinel, a cluster."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from portcullis.store.redis_acl import USES
from ports import free_port
from redis_servers import PATIENCE, Node, connects, nodes, running, tls_options, told

DOMAIN = "shop.test"
PASSWORD = "p@ss/word"  # noqa: S105 - of a server of the test's own
QUOTED = "p%40ss%2Fword"
_SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))


@contextlib.contextmanager
def over_tls(folder: Path) -> Iterator[Node]:
    """A server that takes certificates of its authority only, and has a user for each use."""
    certified(folder)
    users = ["user default off"]
    users += [f"user {use.name} on >{PASSWORD} {use.rule(DOMAIN)}" for use in USES]
    (folder / "users.acl").write_text("\n".join(users) + "\n")
    node = Node(folder / "redis", ("--aclfile", str(folder / "users.acl")), certificates=folder)
    with nodes(node):
        yield node


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[tuple[list[Node], int]]:
    """A primary, two replicas, and the port of a Sentinel that promotes one when it is gone."""
    certified(folder)
    at_once = ("--repl-diskless-sync-delay", "0", "--tls-replication", "yes")
    primary = Node(folder / "0", at_once, certificates=folder)
    with contextlib.ExitStack() as stack:
        stack.enter_context(nodes(primary))
        of = ("--replicaof", f"127.0.0.1 {primary.port}", *at_once)
        replicas = [Node(folder / str(number), of, certificates=folder) for number in (1, 2)]
        stack.enter_context(nodes(*replicas))
        _until(lambda: told(primary, "INFO", "replication").count("state=online") == len(replicas))
        port = free_port()
        conf = folder / "sentinel.conf"
        conf.write_text(
            f"bind 127.0.0.1\nport 0\ntls-port {port}\ntls-replication yes\n"
            f"sentinel monitor counts 127.0.0.1 {primary.port} 1\n"
            "sentinel down-after-milliseconds counts 500\nsentinel failover-timeout counts 5000\n"
        )
        settings = (str(conf), "--sentinel", *tls_options(folder))
        stack.enter_context(running(*settings, there=lambda: connects(port)))
        sentinel = Node(folder, port=port, certificates=folder)
        _until(lambda: "num-slaves\n2\n" in told(sentinel, "SENTINEL", "MASTER", "counts") + "\n")
        yield [primary, *replicas], port


@contextlib.contextmanager
def clustered(folder: Path) -> Iterator[list[Node]]:
    """Three primaries that share all slots, with a user for each use."""
    certified(folder)
    options = ("--cluster-enabled", "yes", "--tls-cluster", "yes")
    made = [Node(folder / str(number), options, certificates=folder) for number in range(3)]
    with nodes(*made):
        for node, (first, last) in zip(made, _SLOTS, strict=True):
            told(node, "CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
            told(node, "CLUSTER", "MEET", "127.0.0.1", str(made[0].port))
            for use in USES:
                rules = [*use.rule(DOMAIN).split(), "+cluster|slots", "+command"]
                told(node, "ACL", "SETUSER", use.name, "on", f">{PASSWORD}", *rules)
        for node in made:
            _until(lambda node=node: "cluster_state:ok" in told(node, "CLUSTER", "INFO"))
            _until(lambda node=node: "cluster_known_nodes:3" in told(node, "CLUSTER", "INFO"))
        yield made


def options(folder: Path, **files: str) -> str:
    """What an address says of the certificates in a folder; an empty one is left out."""
    given = {"ca": "ca.pem", "cert": "client.pem", "key": "client.key"} | files
    return "&".join(f"{name}={folder / file}" for name, file in given.items() if file)


def certified(folder: Path) -> None:
    """An authority, and its certificates for a server on 127.0.0.1 and for a client, in PEM."""
    authority = ec.generate_private_key(ec.SECP256R1())
    for name in ("ca", "server", "client"):
        key = authority if name == "ca" else ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=name == "ca", path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]),
                critical=False,
            )
            .sign(authority, hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(made.public_bytes(Encoding.PEM))
        plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{name}.key").write_bytes(plain)


def _until(holds) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
