"""How far a hostile store can send the gate elsewhere: what ``docs/replication.md`` says of it."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from obstore.store import S3Store

from portcullis.core.errors import Problem
from portcullis.core.record_ports import ObjectStore, Retention
from portcullis.store.objects import Objects, StoreSettings, open_objects
from receivers import server_tls

RETENTION = Retention("compliance", 2_000_000_000.0)


class Server:
    """Remembers what it was asked; sends on to ``elsewhere`` if there is one."""

    def __init__(self, elsewhere: str = "", tls: ssl.SSLContext | None = None) -> None:
        asked: list[tuple[str, bool]] = []

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                signed = "authorization" in self.headers or "X-Amz-Signature" in self.path
                asked.append((self.command, signed))
                self.send_response(307 if elsewhere else 200)
                if elsewhere:
                    self.send_header("location", f"{elsewhere}/internal")
                self.send_header("content-length", "0")
                self.send_header("etag", '"x"')
                self.send_header("last-modified", "Tue, 01 Jan 2030 00:00:00 GMT")
                self.end_headers()

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - their names

            def log_message(self, *_: object) -> None:
                pass

        self.asked = asked
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def serving(elsewhere: str = "", tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(elsewhere, tls)
    try:
        yield server
    finally:
        server.close()


def use(store: ObjectStore) -> None:
    """Everything that is ever asked of a store; whatever it answers."""
    for act in (
        lambda: store.get("a", 100),
        lambda: store.head("a"),
        lambda: list(store.list("a")),
        lambda: store.put("a", b"1"),
        lambda: store.put("a", b"1", retention=RETENTION),
        lambda: store.delete("a"),
    ):
        with contextlib.suppress(Problem):
            act()


def test_a_store_that_sends_us_elsewhere_gets_a_reading_without_credentials_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with serving() as inner, serving(inner.url) as outer:
        for keys in ({}, {"access_key": "key", "secret_key": "secret"}):
            settings = StoreSettings(url="s3://b", region="x", endpoint=outer.url, **keys)
            use(open_objects(settings))
    assert {method for method, _ in outer.asked} >= {"GET", "HEAD", "PUT", "DELETE"}
    assert all(signed for _, signed in outer.asked)
    assert set(inner.asked) <= {("GET", False), ("HEAD", False)}


def test_a_store_behind_tls_cannot_send_us_to_plain_http(tmp_path: Path) -> None:
    tls, _ = server_tls(tmp_path)
    with serving() as inner, serving(inner.url, tls) as outer:
        backend = S3Store(
            "b",
            endpoint=outer.url,
            region="x",
            access_key_id="key",
            secret_access_key="key",  # noqa: S106 - of a server that takes anything
            client_options={"allow_invalid_certificates": True},
            retry_config={"max_retries": 0},
        )
        use(Objects(backend))
    assert {method for method, _ in outer.asked} >= {"GET", "HEAD", "PUT"}
    assert inner.asked == []
