"""Another PDP, as the gate asks it: it says what a test wants, and remembers what it was asked."""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

YES, NO = {"result": True}, {"result": {"allow": False}}


class Doubter:
    """``answer`` is a JSON value, or bytes; ``status`` and ``seconds`` are how it comes."""

    def __init__(self):
        self.url = ""
        self.asked = []
        self.again()

    def again(self):
        """Say yes from now on."""
        self.answer, self.status, self.seconds = YES, 200, 0.0

    def says(self, answer, *, status=200, seconds=0.0):
        self.answer, self.status, self.seconds = answer, status, seconds


@contextlib.contextmanager
def doubting():
    """Serve one at loopback."""
    doubter = Doubter()

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            doubter.asked.append((self.path, dict(self.headers), json.loads(body)))
            time.sleep(doubter.seconds)
            answer = doubter.answer
            text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(doubter.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    doubter.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield doubter
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
