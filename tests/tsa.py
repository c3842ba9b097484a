"""A real timestamp authority (RFC 3161) for tests: ``openssl ts -reply`` behind HTTP on loopback.

with authority(folder) as tsa:
    tsa.url, tsa.roots        # where to ask, and the root (PEM) that vouches for it
    tsa.verified(tsr, data)   # what ``openssl ts -verify`` says
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_CONFIG = """
[tsa]
default_tsa = it
[it]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""


class Authority:
    """The authority; ``spoil`` changes what it answers, ``seen`` counts its requests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.roots = folder / "roots.pem"
        self.url = ""
        self.seen = 0
        self.spoil: Callable[[bytes], tuple[int, bytes]] = lambda response: (200, response)

    def reply(self, request: bytes) -> bytes:
        """The response that openssl makes."""
        query, response = self.folder / "it.tsq", self.folder / "it.tsr"
        query.write_bytes(request)
        self._openssl("-reply", "-config", "tsa.cnf", "-queryfile", query, "-out", response)
        return response.read_bytes()

    def verified(self, response: Path, data: Path) -> bool:
        """Whether ``openssl ts -verify`` accepts a response over a file."""
        try:
            self._openssl("-verify", "-in", response, "-data", data, "-CAfile", self.roots)
        except subprocess.CalledProcessError:
            return False
        return True

    def _openssl(self, *arguments: object) -> None:
        command = ["openssl", "ts", *map(str, arguments)]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True, timeout=20)


@contextlib.contextmanager
def authority(folder: Path) -> Iterator[Authority]:
    """Run one until the block ends."""
    folder.mkdir(parents=True)
    tsa = Authority(folder)
    _certificates(tsa)
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(_CONFIG.format(folder=folder))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            tsa.seen += 1
            request = self.rfile.read(int(self.headers["content-length"]))
            status, body = tsa.spoil(tsa.reply(request))
            self.send_response(status)
            self.send_header("content-type", "application/timestamp-reply")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    tsa.url = f"http://127.0.0.1:{server.server_address[1]}/tsr"
    try:
        yield tsa
    finally:
        server.shutdown()
        server.server_close()


def _certificates(tsa: Authority) -> None:
    root, key = _certificate("root", None, None)
    leaf, leaf_key = _certificate("tsa", root, key)
    pem = serialization.Encoding.PEM
    tsa.roots.write_bytes(root.public_bytes(pem))
    (tsa.folder / "tsa.pem").write_bytes(leaf.public_bytes(pem))
    (tsa.folder / "tsa.key").write_bytes(
        leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _certificate(
    name: str,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey | None,
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        builder = builder.add_extension(purpose, critical=True)
    return builder.sign(issuer_key or key, hashes.SHA256()), key
