"""The ports that the services of the control plane stand on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from portcullis.audit.feeder import Feeder
from portcullis.config import Console, Limits, Tokens
from portcullis.control.alerts import AlertParts
from portcullis.control.approvals import ApprovalParts
from portcullis.control.behaviour import BehaviourParts
from portcullis.control.break_glass import GlassParts
from portcullis.control.certifying import CertifyingParts
from portcullis.control.containment import Containment
from portcullis.control.desk import DeskParts
from portcullis.control.incidents_parts import IncidentParts
from portcullis.control.login import GRAIN_SECONDS
from portcullis.control.observed import ObservedAgents
from portcullis.control.outcomes import Outcomes
from portcullis.control.privacy import PrivacyParts
from portcullis.control.pruning import PruningParts
from portcullis.control.releases import ReleaseParts
from portcullis.control.retiring import Hosts
from portcullis.control.reviews import ReviewParts
from portcullis.control.secrets import SecretParts
from portcullis.core.breaker_ports import BreakerBook
from portcullis.core.feed import Rule
from portcullis.core.grant_ports import Grants
from portcullis.core.inspection_ports import Pins
from portcullis.core.notice_ports import NoticeStore
from portcullis.core.passkey_ports import Passkeys
from portcullis.core.ports import Clock, Directory, Once, Operators, Recorder, Registrations, Sealer
from portcullis.core.rights import Roles
from portcullis.core.session_ports import SessionState, Spending
from portcullis.identity.oidc import IdTokens
from portcullis.identity.orders import OrderBook
from portcullis.identity.passwords import STANDARD, Cost
from portcullis.identity.tokens import TokenAuthority
from portcullis.provenance.ports import LabelState, MemoryState


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceParts:
    """The ports that the APIs stand on.

    ``gateway`` names this gate in the records; ``new_id`` gives ids that never repeat (events,
    sessions); ``version`` is the program's. ``id_tokens`` is None when no issuer of them is
    configured; ``witnesses`` is what has the log witnessed, if anybody does; ``privacy_parts`` is
    what there is to erase, ``pruning_parts`` what prunes the log, ``approval_parts`` what waits for
    humans, ``review_parts`` what they look at afterwards, ``desk_parts`` what they see beside,
    ``alert_parts`` what was raised for them, ``incident_parts`` what they do about it,
    ``secret_parts`` what gives out secrets and is known of them; ``console_key`` is what the
    console's forms are bound to logins with, ``feed_key`` what
    authenticates the kill feed's frames, ``orders`` the signed orders about everybody and
    ``kill_key`` what signs them, ``passkeys`` where those of operators are; ``grants`` is what
    users granted at upstreams, ``notices`` what people are told of; ``rule`` is that of
    the process which rules; ``argon2`` is what an
    operator's password costs to guess; refused logins take a multiple of ``login_grain`` seconds;
    ``outcomes`` are those of kills, for the console; ``observed`` is who is observed;
    ``operator_roles`` is what operators may; ``hosts`` retires gateways of other hosts, if any may
    be.
    """

    authority: TokenAuthority
    once: Once
    directory: Directory
    registrations: Registrations
    operators: Operators
    pins: Pins
    feed: Containment
    sessions: SessionState
    labels: LabelState
    memories: MemoryState
    spending: Spending
    breakers: BreakerBook
    recorder: Recorder
    sealer: Sealer
    clock: Clock
    tokens: Tokens
    limits: Limits
    trust_domain: str
    gateway: str
    version: str
    new_id: Callable[[], str]
    id_tokens: IdTokens | None = None
    witnesses: Feeder | None = None
    privacy_parts: PrivacyParts | None = None
    pruning_parts: PruningParts | None = None
    approval_parts: ApprovalParts | None = None
    review_parts: ReviewParts | None = None
    behaviour_parts: BehaviourParts | None = None
    desk_parts: DeskParts | None = None
    alert_parts: AlertParts | None = None
    incident_parts: IncidentParts | None = None
    secret_parts: SecretParts | None = None
    release_parts: ReleaseParts | None = None
    glass_parts: GlassParts | None = None
    certifying_parts: CertifyingParts | None = None
    hosts: Hosts | None = None
    observed: ObservedAgents = field(default_factory=ObservedAgents)
    console: Console = field(default_factory=Console)
    console_key: bytes = b""
    feed_key: bytes = b""
    orders: OrderBook | None = None
    kill_key: Ed25519PrivateKey | None = None
    passkeys: Passkeys | None = None
    grants: Grants | None = None
    notices: NoticeStore | None = None
    rule: Rule | None = None
    argon2: Cost = STANDARD
    login_grain: float = GRAIN_SECONDS
    outcomes: Outcomes = field(default_factory=Outcomes)
    operator_roles: Roles = field(default_factory=Roles)
