"""The HTTP API of OpenBao and Vault: who we are to it, and one request at a time."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable
from pathlib import Path
from threading import RLock
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from portcullis.config.secrets import AppRole, Certificate, Kubernetes, OpenBao, Token
from portcullis.core.errors import Problem
from portcullis.core.ports import SecretSource
from portcullis.core.secret import Secret

_MAX_ANSWER: Final = 2**20
_OK: Final = 200
_FORBIDDEN: Final = 403
_RENEW_AT: Final = 0.66


class OpenBaoHttp:
    """Asks a server with a token of its own, for any threads; ``now`` is a monotonic clock.

    It logs in when it has to, renews its token when two thirds of its time are over, and logs in
    anew, once, when it is refused. ``local`` reads what it logs in with, each time anew. Raises
    Problem PC5067 when the server does not answer or refuses the login.
    """

    def __init__(self, settings: OpenBao, local: SecretSource, *, now: Callable[[], float]) -> None:
        parts = urlsplit(settings.url)
        self._settings = settings
        self._local = local
        self._now = now
        self._host, self._port = parts.hostname or "", parts.port
        self._base = f"{parts.path.rstrip('/')}/v1/"
        self._tls = _tls(settings) if parts.scheme == "https" else None
        self._lock = RLock()
        self._token: Secret | None = None
        self._renew_at = 0.0
        self._ends_at = 0.0
        self._renewable = False

    def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """The status and the document of an answer."""
        with self._lock:
            known = self._token is not None
            status, document = self._send(method, path, body, self._current())
            if status == _FORBIDDEN and (known or isinstance(self._settings.auth, Token)):
                self._token = None  # revoked, or expired before its time
                status, document = self._send(method, path, body, self._current())
            return status, document

    def close(self) -> None:
        """Give the token back, where it is our own."""
        with self._lock:
            token, self._token = self._token, None
            if token is not None and not isinstance(self._settings.auth, Token):
                try:
                    self._send("POST", "auth/token/revoke-self", {}, token)
                except Problem:  # it ends by itself
                    return

    def _current(self) -> Secret:
        auth, now = self._settings.auth, self._now()
        if isinstance(auth, Token):
            return self._local.resolve(auth.token)
        if self._token is not None and now >= self._ends_at:
            self._token = None
        if self._token is not None and now >= self._renew_at and self._renewable:
            status, document = self._send("POST", "auth/token/renew-self", {}, self._token)
            if status != _OK or not self._adopted(document):
                self._token = None
        if self._token is None:
            status, document = self._login()
            if status != _OK or not self._adopted(document):
                raise Problem("PC5067", f"the server refused our login ({auth.kind}: {status})")
        if self._token is None:
            raise Problem("PC5067", "the server's login holds no token")
        return self._token

    def _adopted(self, document: dict[str, Any]) -> bool:
        auth = document.get("auth")
        if not isinstance(auth, dict):
            return False
        token, seconds = auth.get("client_token"), auth.get("lease_duration")
        if not isinstance(token, str) or not token or not isinstance(seconds, int):
            return False
        now = self._now()
        self._token = Secret(token)
        self._renewable = auth.get("renewable") is True
        self._renew_at = now + seconds * _RENEW_AT
        self._ends_at = now + seconds if seconds > 0 else float("inf")
        return True

    def _login(self) -> tuple[int, dict[str, Any]]:
        auth = self._settings.auth
        body: dict[str, Any] = {}
        mount = ""
        if isinstance(auth, AppRole):
            secret = self._local.resolve(auth.secret_id).reveal()
            mount, body = auth.mount, {"role_id": auth.role_id, "secret_id": secret}
        elif isinstance(auth, Kubernetes):
            token = _text(auth.token)
            mount, body = auth.mount, {"role": auth.role, "jwt": token}
        elif isinstance(auth, Certificate):
            mount, body = auth.mount, {"name": auth.role} if auth.role else {}
        return self._send("POST", f"auth/{mount.strip('/')}/login", body, None)

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None, token: Secret | None
    ) -> tuple[int, dict[str, Any]]:
        headers = {"X-Vault-Request": "true"}
        if token is not None:
            headers["X-Vault-Token"] = token.reveal()
        if self._settings.namespace:
            headers["X-Vault-Namespace"] = self._settings.namespace
        seconds = self._settings.seconds
        connection: http.client.HTTPConnection
        if self._tls is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=seconds)
        else:
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=seconds, context=self._tls
            )
        try:
            content = None if body is None else msgspec.json.encode(body)
            connection.request(method, f"{self._base}{path}", content, headers)
            answer = connection.getresponse()
            said = answer.read(_MAX_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise Problem("PC5067", f"no answer ({type(error).__name__})") from None
        except ValueError:  # which would say the token
            raise Problem("PC5067", "its token is not one line of ASCII") from None
        finally:
            connection.close()
        try:
            document = msgspec.json.decode(said) if said else {}
        except msgspec.DecodeError:
            document = {}
        return answer.status, document if isinstance(document, dict) else {}


def _tls(settings: OpenBao) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca)
        if isinstance(settings.auth, Certificate):
            context.load_cert_chain(settings.auth.certificate, settings.auth.key)
    except (OSError, ssl.SSLError) as error:
        detail = f"secrets.openbao: a certificate cannot be used ({type(error).__name__})"
        raise Problem("PC7001", detail) from None
    return context


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        raise Problem("PC5067", f"the service account's token {path} cannot be read") from None
