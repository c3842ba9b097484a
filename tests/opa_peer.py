"""The real OPA as a process of its own: run by ``.venv-opa``'s Python, with nothing of ours in it.

``opa_peer.py`` answers JSON lines: ``{"modules": [[name, text], ...], "data": {...}}`` loads a
policy in place of the one before, ``{"path": "portcullis/decision", "input": ...}`` asks it. Each
gets one line, ``{"result": ...}``, ``{}`` for undefined or ``{"error": code}``.

``opa_peer.py BUNDLE [MILLISECONDS]`` loads a folder as OPA loads a bundle and answers
``POST /v1/data/PATH`` as its server does, each answer after so long; it prints its port.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from opa_bindings import OpaEngine, OpaError, OpaUndefinedError


def loaded(modules, data):
    engine = OpaEngine()
    for name, text in modules:
        engine.add_policy(name, text)
    engine.add_data(data)
    return engine


def bundle(folder):
    """What OPA reads of a bundle: the modules, and the data at the manifest's roots."""
    manifest = json.loads((folder / ".manifest").read_text("utf-8"))
    assert manifest["rego_version"] == 1
    modules = [
        (str(path.relative_to(folder)), path.read_text("utf-8"))
        for path in sorted(folder.rglob("*.rego"))
    ]
    data = json.loads((folder / "data.json").read_text("utf-8"))
    assert set(data) <= set(manifest["roots"])
    return loaded(modules, data)


def asked(engine, path, question):
    try:
        return {"result": engine.eval_document(path.replace("/", "."), question)}
    except OpaUndefinedError:
        return {}
    except OpaError as error:
        return {"error": str(error)}


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def lines():
    engine = None
    for line in sys.stdin:
        order = json.loads(line)
        if "modules" in order:
            if engine is not None:
                engine.close()
            try:
                engine = loaded(order["modules"], order["data"])
                answer = {"result": True}
            except OpaError as error:
                answer = {"error": str(error)}
        else:
            answer = asked(engine, order["path"], order["input"])
        say(json.dumps(answer))


def serve(folder, delay):
    engine = bundle(folder)

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            time.sleep(delay)
            path = unquote(self.path).removeprefix("/v1/data/")
            answer = asked(engine, path, json.loads(body).get("input"))
            text = json.dumps(answer).encode()
            self.send_response(500 if "error" in answer else 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    say(str(server.server_port))
    server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:]:
        serve(Path(sys.argv[1]), int([*sys.argv, "0"][2]) / 1000)
    else:
        lines()
