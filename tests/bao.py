"""A stand-in for OpenBao on loopback, after its documented HTTP API: KV, database roles, leases.

It has KV of version 1 (``old``) and 2 (``kv``), a database engine (``database``) whose credentials
are leased, and the logins AppRole, Kubernetes and cert. Tokens and leases end; what is revoked or
over is refused with 403 or 400 as the server does.
"""

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Bao:
    """The server's state. ``seconds`` is how long tokens and leases last, ``most`` renewals go."""

    def __init__(self) -> None:
        self.url = ""
        self.root = secrets.token_urlsafe(16)
        self.role_id, self.secret_id = secrets.token_hex(8), secrets.token_hex(16)
        self.jwt = secrets.token_urlsafe(40)
        self.kv: dict[str, list[dict]] = {}
        self.old: dict[str, dict] = {}
        self.tokens: dict[str, float] = {self.root: float("inf")}
        self.leases: dict[str, tuple[float, float, str, str]] = {}
        self.seconds = 3600.0
        self.most = 3600.0
        self.down = False
        self.asked: list[str] = []
        self.revoked: list[str] = []

    def put(self, path: str, **values: str) -> None:
        """Write a version of a KV 2 secret."""
        self.kv.setdefault(path, []).append(values)

    def good(self, user: str, password: str) -> bool:
        """Whether the database knows this user now."""
        return any(
            (user, password) == (u, p) and time.monotonic() < ends
            for ends, _, u, p in self.leases.values()
        )

    def answer(self, method: str, path: str, token: str, body: dict) -> tuple[int, dict | None]:
        path = path.removeprefix("/v1/")
        self.asked.append(f"{method} {path}")
        if self.down:
            return 503, {"errors": ["Vault is sealed"]}
        if path.startswith("auth/") and path.endswith("/login"):
            return self._login(path.split("/")[1], body)
        if time.monotonic() >= self.tokens.get(token, 0.0):
            return 403, {"errors": ["permission denied"]}
        return self._permitted(path, token, body)

    def _permitted(self, path: str, token: str, body: dict) -> tuple[int, dict | None]:
        if path == "auth/token/renew-self":
            self.tokens[token] = time.monotonic() + self.seconds
            return 200, {"auth": self._auth(token)}
        if path == "auth/token/revoke-self":
            del self.tokens[token]
            return 204, None
        if path.startswith("sys/internal/ui/mounts/"):
            return self._mount(path.removeprefix("sys/internal/ui/mounts/"))
        if path.startswith("sys/leases/"):
            return self._lease(path.rpartition("/")[2], body)
        return self._read(path)

    def _login(self, mount: str, body: dict) -> tuple[int, dict]:
        known = {
            "approle": body.get("role_id") == self.role_id
            and body.get("secret_id") == self.secret_id,
            "kubernetes": body.get("role") == "gate" and body.get("jwt") == self.jwt,
        }
        if not known.get(mount):
            return 400, {"errors": ["invalid role or secret ID"]}
        token = f"hvs.{secrets.token_urlsafe(24)}"
        self.tokens[token] = time.monotonic() + self.seconds
        return 200, {"auth": self._auth(token)}

    def _auth(self, token: str) -> dict:
        lasting = {"lease_duration": int(self.seconds), "renewable": True}
        return {"client_token": token, "policies": ["gate"], **lasting}

    @staticmethod
    def _mount(path: str) -> tuple[int, dict]:
        kinds = {
            "kv": {"path": "kv/", "type": "kv", "options": {"version": "2"}},
            "old": {"path": "old/", "type": "kv", "options": {"version": "1"}},
            "database": {"path": "database/", "type": "database", "options": None},
        }
        found = kinds.get(path.partition("/")[0])
        if found is None:
            return 403, {"errors": ["preflight capability check returned 403"]}
        return 200, {"data": found}

    def _read(self, path: str) -> tuple[int, dict]:
        mount, _, rest = path.partition("/")
        if mount == "kv" and rest.startswith("data/") and self.kv.get(rest[5:]):
            versions = self.kv[rest[5:]]
            metadata = {"version": len(versions), "destroyed": False}
            return 200, {"data": {"data": versions[-1], "metadata": metadata}, "lease_id": ""}
        if mount == "old" and rest in self.old:
            return 200, {"data": self.old[rest], "lease_id": "", "lease_duration": 2764800}
        if mount == "database" and rest.startswith("creds/"):
            lease = f"{path}/{secrets.token_hex(12)}"
            user, password = f"v-gate-{secrets.token_hex(8)}", secrets.token_urlsafe(20)
            now = time.monotonic()
            self.leases[lease] = (now + self.seconds, now + self.most, user, password)
            return 200, {
                "lease_id": lease,
                "lease_duration": int(self.seconds),
                "renewable": True,
                "data": {"username": user, "password": password},
            }
        return 404, {"errors": []}

    def _lease(self, verb: str, body: dict) -> tuple[int, dict | None]:
        lease = body.get("lease_id", "")
        ends, last, user, password = self.leases.get(lease, (0.0, 0.0, "", ""))
        if verb == "revoke":
            self.revoked.append(lease)
            self.leases.pop(lease, None)
            return 204, None
        now = time.monotonic()
        if now >= ends:
            return 400, {"errors": ["lease not found"]}
        ends = min(now + self.seconds, last)
        self.leases[lease] = (ends, last, user, password)
        return 200, {"lease_id": lease, "lease_duration": int(ends - now), "renewable": True}


@contextlib.contextmanager
def serving() -> Iterator[Bao]:
    """A server on a free port until the block ends."""
    bao = Bao()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            token = self.headers.get("x-vault-token", "")
            status, document = bao.answer(self.command, self.path, token, body)
            content = b"" if document is None else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = _serve  # noqa: N815 - the base class's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    bao.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield bao
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
