"""A gate that knows no tokens without a key, the people around it, and ways to talk to it."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import secrets
import ssl
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from e2e.identity.theft import forge
from e2e.identity.theft.cases import Case
from e2e.identity.theft.hooks import signing_authority
from portcullis.core.call import Context
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.spiffe import SpiffeId
from portcullis.identity.bundle import decode
from portcullis.wire.certificates import load_identity, pem
from standins import Stage, staged, support_policy

PARTNER = "partner.example"
ISSUER = "https://login.example"
CHAT = "/openai/v1/chat/completions"
ASKED = {"model": "gpt-standin", "messages": [{"role": "user", "content": "hi"}]}
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
TYPE = "urn:ietf:params:oauth:token-type:"
DEEP = 12
_CODE = re.compile(r"PC\d{4}")


@dataclass(frozen=True, slots=True)
class Answer:
    """``status`` is HTTP's or gRPC's, or ``handshake`` when TLS ended without an answer."""

    status: int | str
    text: str = ""
    note: str = ""

    @property
    def code(self) -> str:
        found = _CODE.search(self.text)
        return found[0] if found else ""

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.text)

    def good(self) -> dict[str, Any]:
        """The answer's members, when it is one that a caller with rights gets."""
        assert self.status in (200, 201), f"{self.status}: {self.text[:300]}"
        return self.body


class Line:
    """A client that keeps its connection open."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def ask(self, method: str, url: str, **sent: Any) -> Answer:
        """One request. A connection that was closed is made anew once, as any client does."""
        for attempt in (1, 2):
            try:
                async with self._http.request(method, url, **sent) as answer:
                    return Answer(answer.status, await answer.text())
            except (aiohttp.ClientError, OSError) as gone:
                last = Answer("handshake", note=f"attempt {attempt}: {gone!r}")
        return last


@dataclass(slots=True)
class Deployment:
    """The gate as it runs, a partner's trust domain that it federates with, and their keys."""

    stage: Stage
    folder: Path
    root: str
    """An administrator's token."""
    partner: forge.Ca
    partner_jwt: ec.EllipticCurvePrivateKey
    foreign: ec.EllipticCurvePrivateKey
    """The key of the ID tokens' issuer and of the Kubernetes cluster."""
    known: set[tuple[str, str]] = field(default_factory=set)

    @property
    def domain(self) -> str:
        return self.stage.gate.domain.authority.trust_domain

    @property
    def gate_id(self) -> str:
        return f"spiffe://{self.domain}/gateway/gate"

    def url(self, listener: str, path: str = CHAT) -> str:
        return self.stage.gate.urls[listener] + path

    def svid(self, path: str) -> forge.Shown:
        """What the authority issues to whoever is entitled to ``path``."""
        key = forge.p256()
        made = self.stage.gate.domain.authority.issue(SpiffeId(self.domain, path), key.public_key())
        return forge.Shown(made.chain, key)

    def signs(self) -> forge.Ca:
        return signing_authority(self.stage)

    @contextlib.asynccontextmanager
    async def line(self, shown: forge.Shown | None = None) -> AsyncIterator[Line]:
        context = ssl.create_default_context(
            cadata=pem(self.stage.gate.domain.authority.bundle().x509)
        )
        if shown:
            load_identity(context, shown.chain, forge.key_pem(shown.key))
        connector = aiohttp.TCPConnector(ssl=context, limit=1)
        timeout = aiohttp.ClientTimeout(total=15)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
            yield Line(http)

    async def mtls(self, shown: forge.Shown | None, path: str = CHAT, **sent: Any) -> Answer:
        """One POST over a connection of its own; a model call when nothing else is said."""
        async with self.line(shown) as line:
            return await self.post(line, "mtls", path, **sent)

    async def plain(self, path: str = CHAT, *, listener: str = "gate", **sent: Any) -> Answer:
        async with self.line() as line:
            return await self.post(line, listener, path, **sent)

    async def post(
        self,
        line: Line,
        listener: str,
        path: str = CHAT,
        *,
        token: str = "",
        scheme: str = "Bearer",
        method: str = "POST",
        headers: Any = (),
        **sent: Any,
    ) -> Answer:
        given = [*headers]
        if token:
            given.append(("authorization", f"{scheme} {token}"))
        if method == "POST" and "data" not in sent and "json" not in sent:
            sent["json"] = ASKED
        return await line.ask(method, self.url(listener, path), headers=given, **sent)

    async def admin(self, path: str, body: Any = None, *, method: str = "POST") -> Answer:
        sent = {"json": {} if body is None else body} if method == "POST" else {}
        return await self.plain(
            f"/api/v1{path}", listener="control", token=self.root, method=method, **sent
        )

    async def register(self, kind: str, name: str, **more: Any) -> None:
        if (kind, name) in self.known:
            return
        asked = {"kind": kind, "id": name, "owner": "team", "purpose": "to be robbed"} | more
        (await self.admin("/principals", asked)).good()
        self.known.add((kind, name))

    async def change(self, kind: str, name: str, verb: str) -> None:
        answer = await self.admin(f"/principals/{kind}/{name}/{verb}")
        assert answer.status in (200, 204), answer.text

    async def agent(self, name: str, **more: Any) -> Agent:
        await self.register("agent", name, **more)
        return Agent(self, name)

    async def session(self, agent: str) -> tuple[str, str]:
        """A session that the helpdesk opens for an agent: its id and its token."""
        await self.register("application", "helpdesk")
        subject = {"customer_id": "C-1001", "email": "ada@customer.example"}
        asked = {"agent": agent, "user": "ada", "prompt": "Where is it?", "subject": subject}
        shown = self.svid("/application/helpdesk")
        given = (await self.mtls(shown, "/v1/sessions", json=asked)).good()
        return given["session"], given["token"]

    def events(self) -> list[Any]:
        return self.stage.events()

    async def goes_well(self) -> None:
        """A bystander with rights gets in both ways: not everything fails."""
        agent = await self.agent("bystander")
        answer = await self.mtls(agent.shown, token=await agent.token())
        assert answer.status == 200, answer
        token = await agent.dpop_token()
        headers = [("dpop", agent.proof(CHAT, token))]
        answer = await self.plain(token=token, scheme="DPoP", headers=headers)
        assert answer.status == 200, answer


class Agent:
    """A registered agent with everything it has."""

    def __init__(self, deployment: Deployment, name: str) -> None:
        self.deployment = deployment
        self.name = name
        self.shown = deployment.svid(f"/agent/{name}")
        self.dpop = forge.p256()

    @property
    def id(self) -> SpiffeId:
        return SpiffeId(self.deployment.domain, f"/agent/{self.name}")

    async def token(self, **more: str) -> str:
        """An access token bound to its certificate."""
        form = {"grant_type": "client_credentials"} | more
        answer = await self.deployment.mtls(self.shown, "/v1/token", data=form)
        return answer.good()["access_token"]

    async def exchange(self, subject: str, kind: str = "access_token", **more: str) -> Answer:
        """A token exchange over its own connection."""
        form = {"grant_type": EXCHANGE, "subject_token": subject, "subject_token_type": TYPE + kind}
        return await self.deployment.mtls(self.shown, "/v1/token", data=form | more)

    async def delegate(self, subject: str, to: str, **more: str) -> str:
        """Of its own token, a delegation to another agent."""
        audience = f"spiffe://{self.deployment.domain}/agent/{to}"
        return (await self.exchange(subject, audience=audience, **more)).good()["access_token"]

    def proof(self, path: str, token: str | None = None) -> str:
        """That it holds its DPoP key, for a POST on the plain listener."""
        return forge.proof(self.dpop, "POST", self.deployment.url("gate", path), token)

    def jwt_svid(self, audience: str = "") -> str:
        signs = self.deployment.stage.gate.domain.authority
        return signs.sign_jwt(self.id, [audience or self.deployment.gate_id]).token

    async def dpop_token(self) -> str:
        """An access token bound to its DPoP key."""
        return (await exchange_svid(self.deployment, self.jwt_svid(), self.dpop)).good()[
            "access_token"
        ]


async def exchange_svid(deployment: Deployment, svid: str, key: Any | None) -> Answer:
    """A JWT-SVID for a token on the plain listener; without ``key`` no proof goes with it."""
    form = {"grant_type": EXCHANGE, "subject_token": svid, "subject_token_type": f"{TYPE}jwt"}
    url = deployment.url("gate", "/v1/token")
    headers = [("dpop", forge.proof(key, "POST", url))] if key else []
    return await deployment.plain("/v1/token", data=form, headers=headers)


class Scene:
    """One case's people on a deployment: a victim and a thief, registered for it alone."""

    def __init__(self, deployment: Deployment, case: Case, victim: Agent, thief: Agent) -> None:
        self.at, self.id, self.victim, self.thief = deployment, case.id, victim, thief

    async def another(self, mark: str, **more: Any) -> Agent:
        return await self.at.agent(f"{mark}-{self.id}", **more)


async def scene(deployment: Deployment, case: Case) -> Scene:
    victim = await deployment.agent(f"v-{case.id}")
    return Scene(deployment, case, victim, await deployment.agent(f"t-{case.id}"))


def policy(cases: tuple[Case, ...]) -> str:
    """The demonstration's policy for everybody in the cases; ``m-`` are agents with less."""
    names = [
        "bystander",
        *(f"c{n}-{case.id}" for case in cases if case.do == "chain" for n in range(DEEP + 1)),
    ]
    names += [f"{mark}-{case.id}" for case in cases for mark in ("v", "t", "ghost", "p")]
    lines = [f"  {each}: {{role: support_agent, owner: team}}" for each in names]
    lines += [f"  m-{case.id}: {{role: weaker, owner: team}}" for case in cases]
    text = support_policy().replace("\nagents:\n", "\nagents:\n" + "\n".join(lines) + "\n")
    return text.replace("\nroles:\n", "\nroles:\n  weaker:\n    models: [claude-*]\n")


@contextlib.asynccontextmanager
async def deployed(folder: Path, cases: tuple[Case, ...]) -> AsyncIterator[Deployment]:
    """A gate with a federated partner, an issuer of ID tokens and a Kubernetes cluster."""
    partner, partner_jwt, foreign = forge.root(PARTNER), forge.p256(), forge.p256()
    der = partner.certificate.public_bytes(serialization.Encoding.DER)
    numbers = {"kid": "p1", "use": "jwt-svid"}
    root = forge.jwk(partner.key.public_key()) | {"use": "x509-svid"}
    bundle = {
        "spiffe_sequence": 1,
        "spiffe_refresh_hint": 300,
        "keys": [
            root | {"x5c": [base64.b64encode(der).decode()]},
            forge.jwk(partner_jwt.public_key()) | numbers,
        ],
    }
    keys = {"keys": [forge.jwk(foreign.public_key()) | {"kid": "f1", "alg": "ES256", "use": "sig"}]}
    (folder / "foreign.json").write_text(json.dumps(keys))
    with tempfile.TemporaryDirectory(prefix="w") as short:
        settings = {
            "listen": {
                "gate": "127.0.0.1:0",
                "control": "127.0.0.1:0",
                "mtls": "127.0.0.1:0",
                "workload": f"{short}/w.sock",
            },
            "tokens": {"bearer": "never"},
            "identity": {
                "kubernetes": {"pods": {"issuer": ISSUER, "jwks": str(folder / "foreign.json")}},
                "oidc": {
                    "people": {
                        "issuer": ISSUER,
                        "client_id": "gate",
                        "jwks": str(folder / "foreign.json"),
                        "operators": {"admins": "admin"},
                    }
                },
            },
        }
        async with staged(folder, policy=policy(cases), settings=settings) as stage:
            stage.gate.domain.trust.put(decode(PARTNER, json.dumps(bundle).encode()))
            root_token = await administrator(stage)
            yield Deployment(stage, folder, root_token, partner, partner_jwt, foreign)


async def administrator(stage: Stage) -> str:
    """A token of an operator who may do everything."""
    return await operator(stage, "root", "admin")


async def operator(stage: Stage, name: str, role: str) -> str:
    """A token of a new operator."""
    kind = PrincipalKind.OPERATOR
    principals = stage.gate.services.principals("test")
    await principals.create(local(), kind, name, owner="ops", roles=(role,))
    return (await principals.mint(local(), kind, name)).token


def local() -> Context:
    """Whoever works on the gate's machine."""
    now = time.time()
    who = Principal(
        kind=PrincipalKind.OPERATOR,
        id="local-test",
        credential="local",
        expires_at=now + 60,
        roles=("admin",),
    )
    return Context(
        principal=who,
        session=None,
        source="local",
        trace_id=secrets.token_hex(16),
        received_at=now,
    )
