"""One gate that others ask; its agents, and the application and the sidecar that ask."""

from contextlib import asynccontextmanager

import aiohttp
import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import standins
from e2e.matrix.deployment import operator
from portcullis.core.principal import PrincipalKind
from portcullis.core.spiffe import SpiffeId
from portcullis.wire.certificates import pem
from portcullis.wire.envoy import SERVICE
from portcullis.wire.envoy import authorization_pb2 as wire

DOMAIN = "demo.portcullis.example"
SIDECAR = f"spiffe://{DOMAIN}/mesh/sidecar"
AGENTS = ("worker", "doomed", "isolated", "killed", "rival", "sourced", "minded", "counted")
POLICY = """\
version: 1
agents:
  worker: {role: worker, owner: team}
  doomed: {role: worker, owner: team}
  isolated: {role: worker, owner: team}
  killed: {role: worker, owner: team}
  ghost: {role: worker, owner: team}
  sourced: {role: sourced, owner: team}
  minded: {role: minded, owner: team}
  counted: {role: worker, owner: team}
limits:
  few: {for: {agent: counted}, per: agent, calls: 4/day, concurrency: 1}
roles:
  worker:
    allowed_tools: [kb.search, desk.find, kb.say, {tool: kb.export, obligations: {approvers: 1}}]
    models: [gpt-*]
    egress:
      - {host: api.partner.example, terminate: true, methods: [GET, WEBSOCKET], paths: [/v1/*]}
      - {host: open.partner.example}
  sourced:
    allowed_tools: [kb.mine, kb.send]
    containment: {destination: deny}
  minded:
    allowed_tools: [kb.send]
    containment: {destination: hold}
tools:
  kb.mine:
    risk: read
    arguments: {id: {equals: session.subject.id}}
    results: {iban: {confidentiality: confidential}}
  kb.send: {risk: external, arguments: {to: {role: destination}}}
  kb.search: {risk: read, arguments: {limit: {maximum: 10}}}
  kb.say: {risk: modify}
  desk.find: {risk: read}
quarantine: {reads: [kb.search]}
"""


class Asking:
    """The gate as those see it who ask."""

    def __init__(self, stage):
        self.stage = stage
        self.token = self.other = self.agent = ""

    async def begin(self):
        for agent in AGENTS:
            await self.stage.create(PrincipalKind.AGENT, agent)
        register = self.stage.register
        self.token = await register(PrincipalKind.APPLICATION, "pep")
        self.other = await register(PrincipalKind.APPLICATION, "helpdesk")
        principals = self.stage.gate.services.principals("demo")
        self.agent = (await principals.mint(operator(), PrincipalKind.AGENT, "worker")).token

    async def post(self, path, body, *, token=None, headers=None):
        """Status, headers and JSON of an answer."""
        token = self.token if token is None else token
        sent = {"authorization": f"Bearer {token}"} if token else {}
        async with (
            aiohttp.ClientSession() as http,
            http.post(
                self.stage.gate.gate_url + path, json=body, headers=sent | (headers or {})
            ) as answer,
        ):
            return answer.status, answer.headers, await answer.json(content_type=None)

    async def may(self, action, kind, name, agent="worker", session="", **properties):
        """The answer of ``/access/v1/evaluation`` to one question."""
        subject = {"type": "agent", "id": agent}
        subject |= {"properties": {"session": session}} if session else {}
        asked = {
            "subject": subject,
            "action": {"name": action},
            "resource": {"type": kind, "id": name, "properties": properties},
        }
        status, _, said = await self.post("/access/v1/evaluation", asked)
        assert status == 200, said
        return said

    def svid(self, path):
        authority = self.stage.gate.domain.authority
        key = ec.generate_private_key(ec.SECP256R1())
        made = authority.issue(SpiffeId(authority.trust_domain, path), key.public_key())
        return made.chain, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @asynccontextmanager
    async def channel(self, path="/mesh/sidecar"):
        """gRPC to the listener, with an SVID, as Envoy opens it."""
        chain, key = self.svid(path)
        credentials = grpc.ssl_channel_credentials(
            pem(self.stage.gate.domain.trust.anchors()).encode(), key, pem(chain).encode()
        )
        where = self.stage.gate.urls["decisions"].removeprefix("https://")
        options = (("grpc.ssl_target_name_override", "localhost"),)
        async with grpc.aio.secure_channel(where, credentials, options) as channel:
            yield channel.unary_unary(
                f"/{SERVICE}/Check",
                request_serializer=wire.CheckRequest.SerializeToString,
                response_deserializer=wire.CheckResponse.FromString,
            )

    def events(self):
        return self.stage.events()


def request(method="GET", url="https://api.partner.example/v1/x", agent="worker", **headers):
    """What Envoy asks about a request of an agent's."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    http = wire.HttpRequest(
        method=method, scheme=scheme, host=host, path=slash + path, headers=headers
    )
    principal = agent if "://" in agent or not agent else f"spiffe://{DOMAIN}/agent/{agent}"
    return wire.CheckRequest(
        attributes=wire.AttributeContext(
            source=wire.Peer(principal=principal), request=wire.Request(http=http)
        )
    )


@asynccontextmanager
async def asked(folder, opinions):
    """A gate below ``folder`` with these second opinions."""
    listen = dict.fromkeys(("gate", "control", "mtls", "egress", "decisions"), "127.0.0.1:0")
    settings = {
        "listen": listen,
        "guard": {"desk": {}},
        "decisions": {"askers": ["pep"], "peers": [SIDECAR], "opinions": opinions},
    }
    async with standins.staged(folder, policy=POLICY, settings=settings) as stage:
        made = Asking(stage)
        await made.begin()
        yield made


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="package")
async def asking(tmp_path_factory, anyio_backend):
    async with asked(tmp_path_factory.mktemp("decisions"), {}) as made:
        yield made
