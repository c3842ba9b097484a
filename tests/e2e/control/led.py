"""What the tests of this folder share."""

import base64
import contextlib
import json
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from portcullis.cli import main

COMMAND = Path(sys.executable).parent / "portcullis"


def configured(folder, *agents):
    """Write a configuration, and a policy that knows these agents."""
    (folder / "portcullis.yaml").write_text(
        "trust_domain: example.test\n"
        'listen: {gate: "127.0.0.1:0", control: "127.0.0.1:0", mtls: "127.0.0.1:0",'
        " workload: null}\n"
        "tokens: {bearer: loopback, ttl_seconds: 600}\n"
    )
    (folder / "policy").mkdir()
    (folder / "policy" / "main.yaml").write_text(
        "version: 1\nroles:\n  support: {models: [gpt-*]}\nagents:\n"
        + "".join(f"  {agent}: {{role: support, owner: shop}}\n" for agent in agents)
    )


class Deployment:
    """A folder with a configuration, and the command line in it (in this process, for speed)."""

    def __init__(self, folder, capsys, monkeypatch):
        self.folder = folder
        self.state = folder / "portcullis-state"
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        monkeypatch.chdir(folder)
        if not (folder / "portcullis.yaml").exists():
            configured(folder, "shop-1")

    def bound(self):
        """Tokens are bound to a key, as they are unless somebody says otherwise."""
        file = self.folder / "portcullis.yaml"
        file.write_text(file.read_text().replace("bearer: loopback, ", ""))

    def create(self, kind, name):
        """Register an agent or an application; what was printed as JSON."""
        return self.json(kind, "create", name, "--owner", "shop team", "--purpose", "sells")

    def run(self, *words, code=0):
        """Run a command; what it wrote to stdout and stderr."""
        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["portcullis", *words])
        with pytest.raises(SystemExit) as done:
            main()
        written = self._capsys.readouterr()
        assert (done.value.code or 0) == code, written.err
        return written

    def setenv(self, name, value):
        self._monkeypatch.setenv(name, value)

    def operator(self, name, *roles):
        return Operator(self, name, roles)

    def json(self, *words):
        return json.loads(self.run(*words, "--json").out)

    def events(self):
        done = self.run("audit", "query", "--json")
        return [json.loads(line)["event"] for line in done.out.splitlines()]


@contextlib.contextmanager
def running(deployment, *, stop=signal.SIGTERM):
    """The deployment's gate, running; what it wrote to ``gate.json``."""
    process = subprocess.Popen([COMMAND, "up"], cwd=deployment.folder, stderr=subprocess.PIPE)
    place = deployment.state / "gate.json"
    try:
        for _ in range(1200):
            with contextlib.suppress(OSError, ValueError):
                found = json.loads(place.read_bytes())
                if found["pid"] == process.pid:
                    break
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.05)
        yield found
    finally:
        process.send_signal(stop)
        process.communicate(timeout=30)


class Operator:
    """An operator as people are: a password, an authenticator and a terminal."""

    def __init__(self, deployment, name, roles):
        self.deployment, self.name = deployment, name
        self.password = secrets.token_hex(12)
        words = [word for role in roles for word in ("--role", role)]
        added = self.run("operator", "add", name, "--owner", "ops", *words)
        query = parse_qs(urlsplit(json.loads(added.out)["otpauth"]).query)
        self.secret = base64.b32decode(query["secret"][0])

    def run(self, *words, code=0):
        self.deployment.setenv("THE_PASSWORD", self.password)
        return self.deployment.run(*words, "--password", "env:THE_PASSWORD", "--json", code=code)

    def login(self, later=0, at=None, **expected):
        totp = TOTP(self.secret, 6, SHA1(), 30)  # noqa: S303 - RFC 6238
        self.deployment.setenv("THE_CODE", totp.generate((at or time.time()) + later).decode())
        done = self.run("operator", "login", self.name, "--code", "env:THE_CODE", **expected)
        return json.loads(done.out) if not expected else done


def ask(url, token, body=None):
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {token}"})  # noqa: S310
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("content-type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def eventually(wanted, seconds=30):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if wanted():
            return True
        time.sleep(0.05)
    return False
