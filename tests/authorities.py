"""An authority on a clock that the test sets, and OpenSSL on both sides of a handshake."""

import secrets
import ssl

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from portcullis.config.identity import Identity
from portcullis.core.spiffe import parse
from portcullis.identity.authority import open_authority
from portcullis.identity.keymanager.file import FileKeyManager
from portcullis.identity.sealing import Envelope
from portcullis.wire.certificates import load_identity, pem

DOMAIN = "example.org"
AGENT = parse(f"spiffe://{DOMAIN}/agent/shop-1")
KINDS = ("p256", "ed25519")


class SetClock:
    """Stands still until the test moves it."""

    def __init__(self, at):
        self.at = at

    def now(self):
        return self.at

    def monotonic(self):
        return self.at


class World:
    """One state directory, its clock and its keys."""

    def __init__(self, folder, at):
        self.folder = folder
        self.directory = folder / "ca"
        self.clock = SetClock(at)
        self.keys = FileKeyManager(folder / "master.key", create=True)

    def new_id(self):
        return f"{int(self.clock.at * 1000):012x}{secrets.token_hex(10)}"

    def open(self, trust_domain=DOMAIN, **settings):
        """The authority as a process that starts finds it."""
        return open_authority(
            self.directory,
            trust_domain=trust_domain,
            settings=Identity(**settings),
            sealer=Envelope(self.keys),
            clock=self.clock,
            new_id=self.new_id,
        )


def leaf_key(kind="p256"):
    if kind == "ed25519":
        return Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def root_of(bundle, svid):
    """The authority of the bundle that vouches for the SVID, or None; signatures are checked."""
    leaf, signing = map(x509.load_der_x509_certificate, svid.chain)
    leaf.verify_directly_issued_by(signing)
    for der in bundle.x509:
        root = x509.load_der_x509_certificate(der)
        if root.subject == signing.issuer:
            signing.verify_directly_issued_by(root)
            return der
    return None


def context(side, svid, key, anchors):
    """A TLS 1.3 context that asks for the peer's certificate; SPIFFE knows no host names."""
    made = ssl.SSLContext(side)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=pem(anchors))
    load_identity(made, svid.chain, key_pem(key))
    return made


def handshake(client, server):
    """Both ends after a handshake in memory; ssl.SSLError when one of them refuses."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(ends)
    while waiting:
        for end in tuple(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    return ends
