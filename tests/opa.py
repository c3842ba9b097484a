"""The real OPA beside the gate, as a process that is ended; see ``opa_peer``."""

import contextlib
import json
import selectors
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-opa/bin/python"
PEER = Path(__file__).with_name("opa_peer.py")
SECONDS = 30

needs_opa = pytest.mark.skipif(
    not (ROOT / ".venv-opa/.done").exists(), reason="needs OPA: `make .venv-opa/.done`"
)


class Opa:
    """Answers as OPA does. ``evaluate`` is the port's: an Engine for ``RegoPdp``."""

    def __init__(self, process):
        self._process = process
        self._loaded = None

    def compile(self, bundle):
        return b""

    def load(self, bundle):
        said = self._ask({"modules": list(bundle.modules), "data": json.loads(bundle.data)})
        assert said == {"result": True}, said

    def ask(self, entry, question):
        path = entry.removeprefix("data.").replace(".", "/")
        return self._ask({"path": path, "input": question})

    def evaluate(self, policy, entry, asked):
        if self._loaded != policy.digest:
            self.load(policy.bundle)
            self._loaded = policy.digest
        answer = self.ask(entry, json.loads(asked.text))
        return json.dumps(answer["result"]) if "result" in answer else "<undefined>"

    def _ask(self, order):
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(line_of(self._process))


def line_of(process):
    """The next line that a process prints, within SECONDS."""
    with selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout, selectors.EVENT_READ)
        assert waiting.select(SECONDS), "OPA does not answer"
    return process.stdout.readline()


@contextlib.contextmanager
def _process(*arguments):
    process = subprocess.Popen(
        [PYTHON, PEER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=-1
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(SECONDS)
        process.stdin.close()
        process.stdout.close()


@contextlib.contextmanager
def opa():
    """OPA, to be asked."""
    with _process() as process:
        yield Opa(process)


@contextlib.contextmanager
def opa_server(bundle, milliseconds=0):
    """OPA's data API over HTTP for a bundle in a folder; the URL of its root."""
    with _process(str(bundle), str(milliseconds)) as process:
        yield f"http://127.0.0.1:{int(line_of(process))}"
