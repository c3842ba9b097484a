"""Key-encryption keys in the transit engine of OpenBao or Vault, which they never leave."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import re
import ssl
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from portcullis.core.errors import Problem

_TIMEOUT_SECONDS: Final = 10
_MAX_ANSWER: Final = 2**20
_DIGEST: Final = 32
_TYPES: Final = frozenset(
    {"aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"}
)
"""The kinds of transit keys that authenticate what they encrypt."""
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class OpenBaoKeyManager:
    """A ``KeyManager`` over one transit key, which must exist; ``rotate`` is the engine's own.

    ``token`` is asked for before each request, so that a renewed one is used. The context's
    SHA-256 is encrypted with each data key and compared when it comes back: that holds for every
    version of the engine. Problem PC7001 for a key that is missing or of the wrong kind, or for
    plain HTTP to another machine; PC7005 when the server does not answer or refuses the token.
    """

    def __init__(self, url: str, mount: str, key: str, token: Callable[[], str]) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            raise Problem("PC7001", "keys.url: plain http only on this machine; use https")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._base = f"{parts.path.rstrip('/')}/v1/{quote(mount.strip('/'))}"
        self._key, self._token = quote(key, safe=""), token
        self._place = f"openbao:{parts.netloc}/{quote(mount.strip('/'))}/{self._key}"
        self._newest = self._latest()

    @property
    def version(self) -> str:
        """The server, mount and key, and the number of its version in use."""
        return f"{self._place}:v{self._newest}"

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Encrypt a data key there."""
        plaintext = base64.b64encode(hashlib.sha256(context).digest() + key).decode()
        status, data = self._ask("POST", f"encrypt/{self._key}", {"plaintext": plaintext})
        wrapped = data.get("ciphertext")
        found = re.match(r"[a-z]+:v([0-9]{1,9}):", wrapped) if isinstance(wrapped, str) else None
        if status != http.client.OK or found is None:
            raise _refused(status)
        self._newest = int(found[1])
        return str(wrapped).encode()

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return the data key, or raise Problem PC7010."""
        ciphertext = wrapped.decode("ascii", "replace")
        status, data = self._ask("POST", f"decrypt/{self._key}", {"ciphertext": ciphertext})
        if status == http.client.BAD_REQUEST:
            raise Problem("PC7010", f"a data key was not wrapped under {self._place}")
        if status != http.client.OK:
            raise _refused(status)
        try:
            plaintext = base64.b64decode(data.get("plaintext", ""), validate=True)
        except (binascii.Error, TypeError, ValueError):
            plaintext = b""
        if not hmac.compare_digest(plaintext[:_DIGEST], hashlib.sha256(context).digest()):
            raise Problem("PC7010", "a data key was wrapped for another purpose")
        return plaintext[_DIGEST:]

    def rotate(self) -> str:
        """Rotate the transit key; return its new version."""
        status, _ = self._ask("POST", f"keys/{self._key}/rotate", {})
        if status not in {http.client.OK, http.client.NO_CONTENT}:
            raise _refused(status)
        self._newest = self._latest()
        return self.version

    def _latest(self) -> int:
        status, data = self._ask("GET", f"keys/{self._key}")
        if status == http.client.NOT_FOUND:
            hint = "Make it: `bao secrets enable transit`, `bao write -f transit/keys/NAME`."
            raise Problem("PC7001", f"there is no key {self._place}", hint=hint)
        latest = data.get("latest_version")
        if status != http.client.OK or not isinstance(latest, int):
            raise _refused(status)
        if data.get("type") not in _TYPES or data.get("derived"):
            hint = f"Use one of type {', '.join(sorted(_TYPES))}, not derived."
            raise Problem("PC7001", f"{self._place} is a key of the wrong kind", hint=hint)
        return latest

    def _ask(
        self, method: str, path: str, body: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """The status and ``data`` of the answer; Problem PC7005 when there is none."""
        headers = {"X-Vault-Token": self._token(), "X-Vault-Request": "true"}
        connection = self._connection()
        try:
            content = None if body is None else msgspec.json.encode(body)
            connection.request(method, f"{self._base}/{path}", content, headers)
            answer = connection.getresponse()
            said = answer.read(_MAX_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            detail = f"{self._place} does not answer ({type(error).__name__})"
            raise Problem("PC7005", detail) from None
        except ValueError:  # which would say the token
            raise Problem("PC7005", "keys.token is not one line of ASCII") from None
        finally:
            connection.close()
        try:
            document = msgspec.json.decode(said) if said else {}
        except msgspec.DecodeError:
            document = {}
        data = document.get("data") if isinstance(document, dict) else None
        return answer.status, data if isinstance(data, dict) else {}

    def _connection(self) -> http.client.HTTPConnection:
        if not self._secure:
            return http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_SECONDS)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=_TIMEOUT_SECONDS, context=ssl.create_default_context()
        )


def _refused(status: int) -> Problem:
    hint = "Check the token and its policy: read keys/NAME; update encrypt, decrypt and rotate."
    return Problem("PC7005", f"the transit engine answered {status}", hint=hint)
