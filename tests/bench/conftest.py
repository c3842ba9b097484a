"""A server whose slowness and faults are known exactly."""

import contextlib
import os
import socket
import threading
import time

import pytest

from portcullis.bench.load import Drive, Plan

GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"ok":1}'


class Server:
    """Answers each request with ``answer`` after ``delay`` seconds; None is never."""

    def __init__(self, answer=GOOD, delay=0.0):
        self.answer, self.delay, self.served = answer, delay, 0
        self.closing = answer is not None and b"Connection: close" in answer
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        with peer, contextlib.suppress(OSError):
            while peer.recv(65536):
                time.sleep(self.delay)
                if self.answer is None:
                    continue
                self.served += 1
                peer.sendall(self.answer)
                if self.closing:
                    return


@pytest.fixture
def serve():
    with contextlib.ExitStack() as stack:

        def start(**how):
            server = Server(**how)
            stack.callback(server.listener.close)
            return server

        yield start


@pytest.fixture
def drive():
    def run(server, **how):
        plan = {
            "port": server.port,
            "path": "/",
            "token": "none",
            "body": b"{}",
            "tail": b"}",
            "connections": 1,
            "seconds": 0.3,
            "warm": 0.0,
            "session": os.getsid(0),
        }
        return Drive(Plan(**(plan | how))).run()

    return run
