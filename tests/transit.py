"""A stand-in for OpenBao's transit engine, after its documented HTTP API, on loopback.

Keys are AES-256-GCM in several versions; ciphertexts are ``vault:vN:BASE64``; errors are 400 for
what does not decrypt, 403 for a wrong token, 404 for an unknown key.
"""

import base64
import contextlib
import json
import os
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class Transit:
    """The engine's state: ``keys`` by name, each a list of versions; ``token`` may do all."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(16)
        self.keys: dict[str, list[bytes]] = {}
        self.kinds: dict[str, str] = {}
        self.url = ""
        self.mount = "transit"

    def make(self, name: str, kind: str = "aes256-gcm96") -> None:
        self.keys[name] = [AESGCM.generate_key(256)]
        self.kinds[name] = kind

    def answer(self, method: str, path: str, body: dict) -> tuple[int, dict | None]:
        prefix, asked = f"/v1/{self.mount}/", path.split("/")[3:]
        known = path.startswith(prefix) and self.keys.get(asked[1])
        answer: tuple[int, dict | None] = (404, {"errors": []})
        match method, asked[0], asked[2:]:
            case "GET", "keys", [] if known:
                answer = 200, self._described(asked[1])
            case "POST", "keys", ["rotate"] if known:
                known.append(AESGCM.generate_key(256))
                answer = 204, None
            case "POST", "encrypt", [] if known:
                answer = self._encrypt(known, body)
            case "POST", "decrypt", []:
                answer = self._decrypt(known or [], body)
        return answer

    def _described(self, name: str) -> dict:
        versions = self.keys[name]
        return {
            "data": {
                "name": name,
                "type": self.kinds[name],
                "derived": False,
                "exportable": False,
                "latest_version": len(versions),
                "min_decryption_version": 1,
                "min_encryption_version": 0,
                "supports_encryption": True,
                "keys": {str(number): 1_800_000_000 for number in range(1, len(versions) + 1)},
            }
        }

    def _encrypt(self, versions: list[bytes], body: dict) -> tuple[int, dict]:
        if "plaintext" not in body:
            return 400, {"errors": ["missing plaintext to encrypt"]}
        nonce = os.urandom(12)
        sealed = AESGCM(versions[-1]).encrypt(nonce, base64.b64decode(body["plaintext"]), None)
        ciphertext = f"vault:v{len(versions)}:{base64.b64encode(nonce + sealed).decode()}"
        return 200, {"data": {"ciphertext": ciphertext, "key_version": len(versions)}}

    def _decrypt(self, versions: list[bytes], body: dict) -> tuple[int, dict]:
        try:
            prefix, version, encoded = body["ciphertext"].split(":")
            number, raw = int(version.removeprefix("v")), base64.b64decode(encoded, validate=True)
            if prefix != "vault" or not 1 <= number <= len(versions):
                return 400, {"errors": ["invalid ciphertext: version is too new"]}
            plaintext = AESGCM(versions[number - 1]).decrypt(raw[:12], raw[12:], None)
        except (ValueError, InvalidTag):
            return 400, {"errors": ["invalid ciphertext: unable to decrypt"]}
        return 200, {"data": {"plaintext": base64.b64encode(plaintext).decode()}}


@contextlib.contextmanager
def transit() -> Iterator[Transit]:
    """A running engine."""
    engine = Transit()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(size) or b"{}")
            if self.headers.get("x-vault-token") != engine.token:
                status, document = 403, {"errors": ["permission denied"]}
            else:
                status, document = engine.answer(self.command, self.path, body)
            content = b"" if document is None else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _do  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    engine.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield engine
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
