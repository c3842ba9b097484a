"""Two tenants of one provider, made and run by his commands, on one PostgreSQL and one Redis."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import ssl
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import httpx2
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import commands
from e2e.processes.fleet import COUNTED, LOOK, PATIENCE, PORTCULLIS, policy, until
from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier
from portcullis.bootstrap import SystemClock, authority_of, keys_of
from portcullis.cli.operate import running_gate
from portcullis.cli.remote import Remote
from portcullis.config import load
from portcullis.config.places import logs_of
from portcullis.core.principal import PrincipalKind
from portcullis.core.spiffe import SpiffeId
from portcullis.identity.following import follow_authority
from portcullis.identity.sealing import Envelope
from portcullis.wire.certificates import load_identity, pem

PARENT = "provider.example"


def said(*words, code=0, env=None):
    """What a command of the provider's prints."""
    done = commands.run("tenant", *words, env=env)
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout


@dataclass
class Tenant:
    """One of them, and who is registered there."""

    name: str
    folder: Any
    application: str = ""

    @property
    def config(self):
        return load(self.folder / "portcullis.yaml")

    @property
    def running(self):
        """Where it listens, None while it does not run."""
        return running_gate(self.config)

    @property
    def pid(self):
        """Its process; 0 while it does not run."""
        found = self.running
        return 0 if found is None else found.pid

    @property
    def own(self):
        """An agent that only this tenant has."""
        return f"{self.name}-only"

    def extend(self, **sections):
        """Add sections to the configuration, and have the policy know our agents."""
        file = self.folder / "portcullis.yaml"
        text: dict[str, Any] = yaml.safe_load(file.read_text())
        file.write_text(yaml.safe_dump(text | sections))
        rules = yaml.safe_load(policy())
        rules["agents"][self.own] = {"role": "support_agent"}
        (self.folder / "policy" / "main.yaml").write_text(yaml.safe_dump(rules))

    async def asked(self, work):
        """What its control plane says to ``work``, which gets a ``Remote``."""

        def ask():
            return work(Remote(self.running.control, authority_of(self.config)))

        return await asyncio.to_thread(ask)

    async def register(self):
        """Its agents and its application."""
        for name in (self.own, COUNTED):
            await self.asked(
                lambda remote, name=name: remote.create(
                    PrincipalKind.AGENT, name, owner="team", purpose="a test"
                )
            )
        await self.asked(
            lambda remote: remote.create(
                PrincipalKind.APPLICATION, "helpdesk", owner="team", purpose="a test"
            )
        )
        bearer = await self.asked(
            lambda remote: remote.bearer(PrincipalKind.APPLICATION, "helpdesk")
        )
        self.application = bearer.token

    def operator(self, role="admin"):
        """A token of an operator of its."""
        minted = authority_of(self.config).mint(
            PrincipalKind.OPERATOR, f"ops-{self.name}", ttl=600, roles=(role,)
        )
        return minted.token

    async def gate(self, method, path, token="", **more):
        """An answer of its gate."""
        return await answered(f"{self.running.gate}{path}", method, token, **more)

    async def control(self, method, path, token="", **more):
        """An answer of its control plane."""
        return await answered(f"{self.running.control}{path}", method, token, **more)

    async def session(self, agent, application=None):
        """A new session: its id and its token, or the code that came instead."""
        asked = {"agent": agent, "user": "ada", "prompt": "Look.", "subject": {}}
        token = application or self.application
        answer = await self.gate("POST", "/v1/sessions", token, json=asked)
        given = answer.json()
        return given.get("session", ""), given.get("token", given.get("code"))

    async def look(self, token):
        """What a guarded call gets."""
        return (await self.gate("POST", "/v1/calls", token, json=LOOK)).json()

    def issued(self, path):
        """A TLS context of a client with an SVID of this trust domain's, which trusts it alone."""
        config = self.config
        authority = follow_authority(
            config.state / "ca",
            trust_domain=config.trust_domain,
            settings=config.identity,
            sealer=Envelope(keys_of(config)),
            clock=SystemClock(),
            new_id=lambda: secrets.token_hex(16),
        )
        context = ssl.create_default_context(cadata=pem(authority.bundle().x509))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.check_hostname = False
        key = ec.generate_private_key(ec.SECP256R1())
        svid = authority.issue(SpiffeId(config.trust_domain, path), key.public_key())
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        load_identity(context, svid.chain, secret)
        return context

    def events(self):
        """What its logs hold."""
        return [
            record.event
            for place in logs_of(self.config).values()
            for record in records(place, own_verifier(place))
        ]

    def secret(self, name):
        """What stands in a file of its own."""
        return (self.folder / name).read_text()


async def answered(url, method, token, **more):
    headers = {"authorization": f"Bearer {token}"} if token else {}
    headers |= more.pop("headers", {})
    async with httpx2.AsyncClient(timeout=20) as http:
        return await http.request(method, url, headers=headers, **more)


def code(answer):
    """The code of a refusal, with its status."""
    return answer.status_code, answer.json().get("code", "")


@dataclass
class Provider:
    """The provider's folder, and the command that runs all in it."""

    folder: Any
    server: Any
    redis: str
    process: Any = None

    @property
    def administrators(self):
        return {"PG_ADMIN": self.server.url("postgres"), "REDIS_ADMIN": self.redis}

    def create(self, name, *words):
        said(
            *("create", name, "--parent", PARENT, "--folder", str(self.folder), *words),
            env=self.administrators,
        )
        return Tenant(name, self.folder / name)

    def check(self, expected=0):
        found = said("check", "--folder", str(self.folder), "--json", code=expected)
        return json.loads(found)

    def log(self):
        return (self.folder / "up.log").read_text()

    @contextlib.asynccontextmanager
    async def running(self, *tenants):
        """Run them, until the block ends."""
        with (self.folder / "up.log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: ASYNC220 - it has to be ended by a signal
                [*PORTCULLIS, "tenant", "up", "--folder", str(self.folder)],
                stderr=log,
                env=os.environ | {"OF_THE_PROVIDER": "alone", "PYTHONPATH": ":".join(sys.path)},
            )
        try:
            await until(lambda: self._ended() or all(one.running for one in tenants), PATIENCE)
            yield
        finally:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(30)

    def _ended(self):
        assert self.process.poll() is None, self.log()
        return False
