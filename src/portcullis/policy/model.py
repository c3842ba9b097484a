"""A policy as it was written: what the grammar reads and the compiler turns into Rego."""

from __future__ import annotations

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
from portcullis.policy.quarantine import QuarantineRead
from portcullis.policy.yaml import Entry

BoundKind = Literal["required", "equals", "enum", "prefix", "maximum", "minimum", "max_length"]


@dataclass(frozen=True, slots=True)
class Agent:
    """Which role an agent has."""

    name: Entry
    role: Entry


@dataclass(frozen=True, slots=True)
class Permission:
    """A verb on a resource."""

    verb: str
    resource: str
    entry: Entry


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

    host: Entry
    ports: tuple[int, ...]
    methods: tuple[Entry, ...] | None = None
    paths: tuple[Entry, ...] | None = None
    terminate: bool = False
    plain: bool = False
    inject: str = ""


@dataclass(frozen=True, slots=True)
class Role:
    """What agents of this role may reach. Qualified names are ``server.name``."""

    name: Entry
    permissions: tuple[Permission, ...] = ()
    allowed_tools: tuple[Entry, ...] = ()
    denied_tools: tuple[Entry, ...] = ()
    models: tuple[Entry, ...] = ()
    provider_features: tuple[Entry, ...] = ()
    allowed_resources: tuple[Entry, ...] = ()
    allowed_prompts: tuple[Entry, ...] = ()
    server_requests: tuple[Entry, ...] = ()
    inspection: Inspection = field(default_factory=Inspection)
    containment: ContainmentLayer | None = None
    egress: tuple[EgressRule, ...] = ()


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
