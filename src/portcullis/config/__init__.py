"""The one configuration file, ``portcullis.yaml``, typed.

Every key has a default except the trust domain and the upstreams. An unknown key, a wrong type
or a secret given by value is a Problem PC7001 that names the file, the line and the key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from portcullis.config.alerts import Alerts
from portcullis.config.approvals import Approvals
from portcullis.config.behaviour import Behaviour
from portcullis.config.boxed import NONE, STRICT, MountText, ProfileName, rewritten, uncovered
from portcullis.config.break_glass import BreakGlass
from portcullis.config.breakers import Breakers
from portcullis.config.common import NAME, SECRET, Name, Section, Url, before_v1
from portcullis.config.console import Console
from portcullis.config.content import Content
from portcullis.config.counters import Counters
from portcullis.config.decisions import Decisions
from portcullis.config.egress import Egress
from portcullis.config.evidence import Evidence
from portcullis.config.exporters import Exporters
from portcullis.config.feed import Feed
from portcullis.config.guard import Toolset
from portcullis.config.guarded import rule_places, secret_places
from portcullis.config.hosts import expect_common
from portcullis.config.identity import FileKeys, Identity, KeyManagerSettings
from portcullis.config.incidents import Incidents
from portcullis.config.inspection import Inspection
from portcullis.config.listen import Listen
from portcullis.config.load import load as _load
from portcullis.config.notifications import Notifications
from portcullis.config.oauth import UpstreamOauth, apart
from portcullis.config.policy_review import PolicyReview
from portcullis.config.quarantine import Quarantine
from portcullis.config.releases import PolicyChanges, PolicySource
from portcullis.config.replica import Replicas, Timestamps
from portcullis.config.retention import Retention
from portcullis.config.review import Review
from portcullis.config.roles import OperatorRoles, Pair, expect_roles, roles_of
from portcullis.config.sandbox import Sandboxing
from portcullis.config.secrets import Injection, Secrets
from portcullis.config.shared import Shared
from portcullis.config.store import Store
from portcullis.config.telemetry import Telemetry
from portcullis.config.tools import ToolServer, held
from portcullis.core.errors import Problem
from portcullis.core.rights import Roles
from portcullis.core.spiffe import TRUST_DOMAIN

__all__ = [
    "NAME",
    "SECRET",
    "Alerts",
    "Approvals",
    "Breakers",
    "Config",
    "Console",
    "Counters",
    "Decisions",
    "Egress",
    "Evidence",
    "Feed",
    "Incidents",
    "Inspection",
    "Limits",
    "Listen",
    "McpUpstream",
    "ModelUpstream",
    "PolicyChanges",
    "PolicySource",
    "Quarantine",
    "Review",
    "Sandboxing",
    "Tokens",
    "Toolset",
    "UpstreamOauth",
    "UpstreamTls",
    "load",
]


class UpstreamTls(Section):
    """How the gate and an ``https`` upstream know each other.

    ``svid``: the gate shows its own SVID when it is asked for a certificate. ``spiffe_id``: the
    upstream must be exactly this workload, of our trust domain or a federated one; without it,
    its certificate is held against its host name and the system's authorities.
    """

    svid: bool = True
    spiffe_id: str | None = Field(default=None, pattern=r"^spiffe://")


class ModelUpstream(Section):
    """A model endpoint. ``url`` ends before ``/v1``; ``serves`` are globs of model names."""

    shape: Literal["openai", "anthropic"]
    url: Annotated[Url, AfterValidator(before_v1)]
    credential: str | None = Field(default=None, pattern=SECRET)
    inject: tuple[Injection, ...] = ()
    oauth: UpstreamOauth | None = None
    serves: tuple[str, ...] = ("*",)
    tls: UpstreamTls = UpstreamTls()

    def model_post_init(self, context: Any, /) -> None:
        """An endpoint has no environment."""
        del context
        apart(self.oauth, self.url, self.credential, self.inject)
        if any(one.env for one in self.inject):
            msg = "inject: env is for servers that are a command"
            raise ValueError(msg)


class McpUpstream(Section):
    """An MCP server: either ``url`` (streamable HTTP) or ``command`` (stdio), which is in a box.

    ``sandbox`` is its profile; ``none``, which has to be written out, is no box. The box sees
    ``cwd`` (read-only, unless a mount says otherwise) and ``mounts`` (``DIR:ro``, ``DIR:rw``).
    ``per_session``: only calls within a session reach it, and its box ends with the session.
    """

    url: Url | None = None
    credential: str | None = Field(default=None, pattern=SECRET)
    inject: tuple[Injection, ...] = ()
    oauth: UpstreamOauth | None = None
    tls: UpstreamTls = UpstreamTls()
    command: tuple[str, ...] | None = None
    cwd: Path | None = None
    env: dict[str, str] = Field(default_factory=dict)
    """For ``command``: the whole environment beyond PATH, HOME and LANG; values may be
    secret references."""
    sandbox: ProfileName = STRICT
    mounts: tuple[MountText, ...] = ()
    per_session: bool = False

    def model_post_init(self, context: Any, /) -> None:
        """Exactly one of url and command."""
        del context
        if (self.url is None) == (self.command is None):
            msg = "give exactly one of url and command"
            raise ValueError(msg)
        apart(self.oauth, self.url, self.credential, self.inject, discovers=True)
        if self.command is not None and (self.credential or not self.command):
            msg = "command must not be empty and takes its secrets through env, not credential"
            raise ValueError(msg)
        if any((one.env is None) == (self.command is not None) for one in self.inject):
            msg = "inject: env for a command; header, query or body for a url"
            raise ValueError(msg)
        boxed = {"sandbox", "mounts", "per_session"} & self.model_fields_set
        if boxed and self.command is None:
            msg = f"{', '.join(sorted(boxed))}: only of a server that is a command"
            raise ValueError(msg)
        if self.mounts and self.sandbox == NONE:
            msg = "mounts are for a box, and sandbox: none is without one"
            raise ValueError(msg)


class Limits(Section):
    """Bounds on every request; sizes in bytes, times in seconds."""

    body_bytes: int = Field(default=4 * 2**20, ge=1024)
    result_bytes: int = Field(default=16 * 2**20, ge=1024)
    held_bytes: int = Field(default=2**20, ge=1024)
    """How much of a stream may be held back while a tool call is incomplete."""
    receive_seconds: float = Field(default=15, gt=0)
    connect_seconds: float = Field(default=5, gt=0)
    request_seconds: float = Field(default=120, gt=0)
    idle_seconds: float = Field(default=60, gt=0)
    """The longest silence within a stream."""
    stream_seconds: float = Field(default=900, gt=0)
    session_idle_seconds: float = Field(default=1800, gt=0)
    """After this silence a legacy MCP session (and its server process) is ended."""
    calls_in_flight: int = Field(default=512, ge=1)
    calls_per_agent: int = Field(default=256, ge=1)
    """The share of ``calls_in_flight`` that one agent can take."""
    mcp_sessions: int = Field(default=256, ge=1)
    processes: int = Field(default=32, ge=1)
    audit_queue: int = Field(default=8192, ge=1)
    drain_seconds: float = Field(default=10, ge=0)
    """How long what runs may go on when a gate ends."""
    drain_notice_seconds: float = Field(default=0, ge=0, le=300)
    """How long it says before, at ``/readyz``, that it will: as long as a load balancer needs."""


class Tokens(Section):
    """Lifetimes in seconds, and whether a token alone is enough.

    ``bearer: loopback`` lets agents and applications use tokens that are bound to no key, on the
    plain loopback listener only; by default there are none. Operators' tokens are of that kind:
    the control plane listens on loopback.
    """

    ttl_seconds: int = Field(default=300, ge=10, le=3600)
    operator_ttl_seconds: int = Field(default=3600, ge=10, le=43200)
    session_ttl_seconds: int = Field(default=3600, ge=10, le=43200)
    renew_until_seconds: int = Field(default=43200, ge=10, le=259200)
    """A chain of renewals of a token that is bound to no key ends this long after the first."""
    bearer: Literal["never", "loopback"] = "never"
    clock_skew_seconds: int = Field(default=5, ge=0, le=60)
    """How far another's clock may be ahead of ours."""


class Audit(Section):
    """How often a checkpoint is signed, in seconds, and who gets the log's events.

    ``witnesses`` is a tlog-policy file: a checkpoint is then published when its quorum has cosigned
    it. Calls of the risks in ``await_witnesses`` wait for that, at most ``witness_seconds``, which
    is also how long one witness may take. ``replicate`` names the stores that the gate's own log is
    shipped to.
    """

    checkpoint_seconds: float = Field(default=0.5, gt=0, le=60)
    witnesses: Path | None = None
    await_witnesses: tuple[Literal["modify", "external", "delete"], ...] = ()
    witness_seconds: float = Field(default=5, ge=0.1, le=60)
    exporters: Exporters = ()
    timestamps: Timestamps = Timestamps()
    replicate: Replicas = ()
    content: Content = Content()
    retention: Retention = Retention()

    def model_post_init(self, context: Any, /) -> None:
        """Nobody waits for nobody."""
        del context
        if self.await_witnesses and self.witnesses is None:
            msg = "await_witnesses needs witnesses"
            raise ValueError(msg)


class Config(Section):
    """The whole file."""

    trust_domain: str = Field(pattern=TRUST_DOMAIN)
    control_plane: Literal["here", "elsewhere"] = "here"
    """Whether this state folder has the control plane, or only gateways of one that has another
    (docs/hosts.md)."""
    state: Path = Path("portcullis-state")
    policy: Path = Path("policy")
    environment: Name = "production"
    """Which of its environments this gate is, to policy (docs/policy.md)."""
    policy_changes: PolicyChanges = PolicyChanges()
    policy_source: PolicySource | None = None
    policy_review: PolicyReview = PolicyReview()
    listen: Listen = Listen()
    models: dict[Name, ModelUpstream] = Field(default_factory=dict)
    mcp: dict[Name, McpUpstream] = Field(default_factory=dict)
    tools: dict[Name, ToolServer] = Field(default_factory=dict)
    guard: dict[Name, Toolset] = Field(default_factory=dict)
    egress: Egress = Egress()
    decisions: Decisions = Decisions()
    sandbox: Sandboxing = Field(default=Sandboxing(), validate_default=True)
    limits: Limits = Limits()
    tokens: Tokens = Tokens()
    keys: KeyManagerSettings = Field(default=FileKeys(), discriminator="kind")
    roles: OperatorRoles = Field(default_factory=dict)
    """Operators' roles of one's own, beside those that are built in."""
    rights_apart: tuple[Pair, ...] = ()
    """Pairs of rights that no operator has together (docs/operators.md)."""
    identity: Identity = Identity()
    inspection: Inspection = Inspection()
    approvals: Approvals = Approvals()
    break_glass: BreakGlass = BreakGlass()
    breakers: Breakers = Breakers()
    quarantine: Quarantine = Quarantine()
    notifications: Notifications = Field(default_factory=dict)
    alerts: Alerts = Alerts()
    incidents: Incidents = Incidents()
    review: Review = Review()
    behaviour: Behaviour = Behaviour()
    console: Console = Console()
    feed: Feed = Feed()
    counters: Counters = Counters()
    store: Store = Store()
    shared: Shared = Shared()
    prices: Path | None = None
    """What models cost, before what is known of them anyway (docs/limits.md)."""
    audit: Audit = Audit()
    evidence: Evidence = Evidence()
    telemetry: Telemetry = Telemetry()
    secrets: Secrets = Secrets()

    @field_validator("guard", "tools")
    @classmethod
    def _apart(cls, toolsets: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """A name that policy uses stands for one thing."""
        for name in toolsets:
            for section in ("models", "mcp", "tools"):
                if name in info.data.get(section, {}):
                    msg = f"{name} is also the name of an upstream under {section}"
                    raise ValueError(msg)
        return toolsets

    @field_validator("sandbox")
    @classmethod
    def _there(cls, sandbox: Sandboxing, info: ValidationInfo) -> Sandboxing:
        """Whatever is in a box is in one that there is."""
        known = {*sandbox.named(), NONE}
        state = info.data.get("state")
        for one in held(info.data.get("mcp", {}), info.data.get("tools", {})):
            if one.sandbox not in known:
                msg = (
                    f"{one.name} names the profile {one.sandbox}, which is not in sandbox.profiles"
                )
                raise ValueError(msg)
            place = state and one.sandbox != NONE and uncovered((state,), one.cwd, one.mounts)
            if place:
                msg = f"{one.name}: {place} would give its box the state directory, with all keys"
                raise ValueError(msg)
        return sandbox

    @field_validator("identity")
    @classmethod
    def _grouped(cls, identity: Identity, info: ValidationInfo) -> Identity:
        """Groups stand for roles that there are."""
        for one in identity.oidc.values():
            expect_roles(one.operators.values(), info.data.get("roles", {}))
        return identity

    @field_validator("approvals")
    @classmethod
    def _asked(cls, approvals: Approvals, info: ValidationInfo) -> Approvals:
        """Rules about releases are for where somebody approves releases."""
        changes = info.data.get("policy_changes")
        for rule in approvals.rules:
            if rule.releases and changes is not None and not changes.approvals:
                msg = (
                    f"rules: {rule.name} speaks of releases, and nobody approves one:"
                    " set policy_changes.approvals to 1 or 2"
                )
                raise ValueError(msg)
        return approvals

    @field_validator("break_glass")
    @classmethod
    def _raised(cls, glass: BreakGlass, info: ValidationInfo) -> BreakGlass:
        """The glass is for roles that there are, and gives such."""
        expect_roles((*glass.may, *glass.roles), info.data.get("roles", {}))
        return glass

    @field_validator("alerts")
    @classmethod
    def _told(cls, alerts: Alerts, info: ValidationInfo) -> Alerts:
        """Whoever is told is a channel."""
        for name in alerts.channels:
            if name not in info.data.get("notifications", {}):
                msg = f"tell: there is no channel {name} under notifications"
                raise ValueError(msg)
        return alerts

    @field_validator("console")
    @classmethod
    def _by_passkey(cls, console: Console, info: ValidationInfo) -> Console:
        """Where deciding takes a passkey, nothing else decides."""
        for name, one in info.data.get("notifications", {}).items():
            if console.passkeys == "required" and getattr(one, "actions", None) is not None:
                msg = f"passkeys: required, but notifications.{name} has actions: they ask for none"
                raise ValueError(msg)
        return console

    @model_validator(mode="after")
    def _reached(self) -> Self:
        """What a gateway has without the control plane's folder is where both can reach it."""
        if self.apart:
            expect_common(self)
        return self

    @property
    def apart(self) -> bool:
        """Whether the control plane has another state folder, on another host as a rule."""
        return self.control_plane == "elsewhere"

    @property
    def operator_roles(self) -> Roles:
        """The roles of operators: those that are built in, and the configuration's own."""
        glass = self.break_glass
        return roles_of(self.roles, self.rights_apart, glass.may, glass.roles)


def load(path: Path) -> Config:
    """Read and validate a configuration file; relative paths in it are relative to the file.

    That holds for ``state``, ``policy``, ``cwd`` and ``file:`` references alike.
    """
    config = _load(path, Config)
    kept, rules = secret_places(config), (path.absolute(), *rule_places(config))
    for one in held(config.mcp, config.tools):
        if one.sandbox == NONE:
            continue
        if place := uncovered(kept, one.cwd, one.mounts):
            detail = f"{path}: {one.name}: {place} would give its box keys or secrets of the gate"
            raise Problem("PC7001", detail, hint="Keep them in another folder, or mount less.")
        if place := rewritten(rules, one.mounts):
            detail = f"{path}: {one.name}: {place}:rw would let its box write what the gate goes by"
            raise Problem("PC7001", detail, hint="Keep it in another folder, or mount less.")
    return config
