"""A policy as it was written: what the grammar reads and the compiler turns into Rego."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from portcullis.core.call import RiskClass
from portcullis.core.containment import (
    ArgumentModel,
    Memory,
    QuestionKind,
    ResultField,
    RiskRule,
    Treatment,
)
from portcullis.core.limits import Limit
from portcullis.core.obligation import Obligations
from portcullis.policy.conditions import Condition
from portcullis.policy.data_access import Binding, DataAccess
from portcullis.policy.handwritten import Handwritten
from portcullis.policy.moments import Moment
from portcullis.policy.observe import Observe
from portcullis.policy.quarantine import QuarantineRead
from portcullis.policy.windows import Window
from portcullis.policy.yaml import Entry

BoundKind = Literal["required", "equals", "enum", "prefix", "maximum", "minimum", "max_length"]


@dataclass(frozen=True, slots=True)
class Agent:
    """Which role an agent has, until when, and who answers for it.

    From ``expires`` on the policy does not know it; ``review_by`` is when somebody has to have
    looked at what it may.
    """

    name: Entry
    role: Entry
    owner: str = ""
    expires: Moment | None = None
    review_by: Moment | None = None
    observe: Observe | None = None


@dataclass(frozen=True, slots=True)
class Environments:
    """Where something holds; ``entry`` is the key that says so last."""

    names: tuple[str, ...]
    entry: Entry


@dataclass(frozen=True, slots=True)
class Terms:
    """When a grant holds, and what it obliges to. All of them have to; None asks nothing.

    ``bare``: what it shows is nothing that masks or ``data_access`` hide, says the policy
    (``data: none`` of a resource or prompt). ``reason`` is for whoever reads the policy.
    """

    environments: Environments | None = None
    until: Moment | None = None
    during: Entry | None = None
    when: Condition | None = None
    obligations: Obligations | None = None
    bare: bool = False
    reason: str = ""

    @property
    def plain(self) -> bool:
        """Whether the grant holds always, and obliges to nothing."""
        return (
            self.environments is None
            and self.until is None
            and self.during is None
            and self.when is None
            and self.obligations is None
        )


@dataclass(frozen=True, slots=True)
class Grant(Entry):
    """What a role grants, and on what terms."""

    terms: Terms = field(default_factory=Terms)


@dataclass(frozen=True, slots=True)
class Permission:
    """A verb on a resource."""

    verb: str
    resource: str
    entry: Grant


@dataclass(frozen=True, slots=True)
class Inspection:
    """One ``inspection:``. ``tables`` holds a channel's, ``injection``'s or ``opaque``'s entries.

    What it does not say is None.
    """

    tables: dict[str, dict[str, Entry]] = field(default_factory=dict)
    envelope: Entry | None = None
    canaries: bool | None = None
    links: tuple[Entry, ...] | None = None


@dataclass(frozen=True, slots=True)
class ContainmentLayer:
    """One ``containment:``. What it does not say is absent, or None."""

    treatments: dict[QuestionKind, dict[RiskClass, Treatment]] = field(default_factory=dict)
    never: tuple[frozenset[QuestionKind], ...] | None = None
    approvals: int | None = None


@dataclass(frozen=True, slots=True)
class EgressRule:
    """Where agents of a role may go over the network. What it does not say is None.

    ``host`` is a DNS name, or ``*.`` and what all its names are below. Methods and paths can be
    said only where the gate reads requests: under ``terminate``, or ``plain``.
    """

    host: Grant
    ports: tuple[int, ...]
    methods: tuple[Entry, ...] | None = None
    paths: tuple[Entry, ...] | None = None
    terminate: bool = False
    plain: bool = False
    inject: str = ""


@dataclass(frozen=True, slots=True)
class Role:
    """What agents of this role may reach. Qualified names are ``server.name``.

    A role that was resolved (``inheritance``) has what it inherits among its own: an entry's path
    says of which role it is. ``inherits`` are then still those that it names itself.
    """

    name: Entry
    inherits: tuple[Entry, ...] = ()
    environments: Environments | None = None
    permissions: tuple[Permission, ...] = ()
    allowed_tools: tuple[Grant, ...] = ()
    denied_tools: tuple[Entry, ...] = ()
    models: tuple[Grant, ...] = ()
    provider_features: tuple[Grant, ...] = ()
    allowed_resources: tuple[Grant, ...] = ()
    allowed_prompts: tuple[Grant, ...] = ()
    server_requests: tuple[Grant, ...] = ()
    inspection: Inspection = field(default_factory=Inspection)
    containment: ContainmentLayer | None = None
    egress: tuple[EgressRule, ...] = ()
    obligations: Obligations | None = None
    data_access: DataAccess | None = None
    limit: Limit | None = None

    def grants(self) -> Iterator[Grant]:
        """All that it grants."""
        yield from (permission.entry for permission in self.permissions)
        yield from (*self.allowed_tools, *self.models, *self.provider_features)
        yield from (*self.allowed_resources, *self.allowed_prompts, *self.server_requests)
        yield from (rule.host for rule in self.egress)


@dataclass(frozen=True, slots=True)
class Bound:
    """One constraint on one argument.

    ``session`` is the path within the session that ``equals`` compares to (``subject`` and a
    member, or ``user``), empty when ``value`` is the literal to compare to.
    """

    argument: str
    kind: BoundKind
    value: Any
    entry: Entry
    session: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """What a tool means. Without verb and resource only ``allowed_tools`` can grant it.

    ``roles`` has every argument that the policy names.
    """

    name: Entry
    verb: str = ""
    resource: str = ""
    risk: RiskClass = RiskClass.DELETE
    bounds: tuple[Bound, ...] = ()
    clear: tuple[str, ...] = ()
    schemas: dict[str, Any] = field(default_factory=dict)
    tolerated: dict[str, tuple[Entry, ...]] = field(default_factory=dict)
    roles: dict[str, ArgumentModel] = field(default_factory=dict)
    rules: tuple[RiskRule, ...] = ()
    results: tuple[ResultField, ...] = ()
    intent: tuple[str, ...] = ()
    bare: bool = False
    answers: dict[str, ArgumentModel] = field(default_factory=dict)
    memory: Memory | None = None
    obligations: Obligations | None = None
    data: tuple[Binding, ...] | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """All files together. Names are unique within each part."""

    agents: tuple[Agent, ...]
    roles: tuple[Role, ...]
    tools: tuple[Tool, ...]
    inspection: Inspection = field(default_factory=Inspection)
    containment: ContainmentLayer | None = None
    limits: tuple[Limit, ...] = ()
    quarantine: QuarantineRead = field(default_factory=QuarantineRead)
    windows: tuple[Window, ...] = ()
    handwritten: tuple[Handwritten, ...] = ()
