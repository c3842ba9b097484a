"""Decisions for others, and opinions of others, put together around the policy in force."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final

from portcullis.bootstrap.secret_sources import used_by
from portcullis.checks.authorize import Authorize
from portcullis.checks.breaker import AgentBreaker
from portcullis.checks.budget import Budget
from portcullis.checks.contain import Contain
from portcullis.checks.elsewhere import AuthorizeElsewhere, ValidateElsewhere
from portcullis.checks.isolate import Isolate
from portcullis.checks.limit import Limiting
from portcullis.checks.memory import Memory
from portcullis.checks.opinion import Opinion
from portcullis.checks.provenance import Provenance
from portcullis.checks.validate import Validate
from portcullis.config import Config
from portcullis.config.decisions import Opinion as Settings
from portcullis.control.services import Services
from portcullis.core.call import Action, RiskClass
from portcullis.core.check import Check
from portcullis.core.opinion_ports import Inputs, SecondOpinion
from portcullis.core.ports import Inventory, PolicyDecisionPoint, SecretSource
from portcullis.core.principal import PrincipalKind
from portcullis.execution.pdp.asking import Asking
from portcullis.execution.pdp.authzen import AuthzenOpinion
from portcullis.execution.pdp.opa import OpaOpinion
from portcullis.gateway.decisions import Decisions, Unasked
from portcullis.gateway.metrics import Metrics
from portcullis.gateway.pipeline import Pipeline
from portcullis.gateway.records import Records
from portcullis.gateway.tracing import Tracer

_DECIDE: Final = frozenset(
    one.name
    for one in (
        *(Contain, Isolate, AgentBreaker, Validate, Authorize, Opinion),
        *(Provenance, Memory, Budget, Limiting),
    )
)
"""The checks that are asked about what happens elsewhere; the others judge what passes here.

Who asks is the gate of that call, so a yes counts as the call does.
"""


def opinions(
    stack: contextlib.AsyncExitStack, config: Config, secrets: SecretSource, inputs: Inputs
) -> tuple[Opinion, ...]:
    """The check that asks the PDPs that are configured; none where there are none."""
    asked = []
    for name, settings in config.decisions.opinions.items():
        asking = _asking(name, settings, secrets)
        stack.push_async_callback(asking.close)
        asked.append(_opinion(name, settings, asking, inputs))
    return (Opinion(asked),) if asked else ()


def deciding(
    config: Config,
    services: Services,
    pdp: PolicyDecisionPoint,
    inventory: Inventory,
    checks: Sequence[Check],
    records: Records,
    metrics: Metrics,
    tracer: Tracer | None,
) -> Decisions:
    """What answers those who act themselves, by those of ``checks`` that only decide."""
    ours: dict[str, Check] = {
        Validate.name: ValidateElsewhere(inventory, pdp),
        Authorize.name: AuthorizeElsewhere(pdp),
    }
    line = [ours.get(check.name, check) for check in checks if check.name in _DECIDE]
    counting = [check for check in checks if isinstance(check, Limiting)]
    awaited = [RiskClass(risk) for risk in config.audit.await_witnesses]
    principals = services.principals("api")

    async def registered(agent: str) -> object:
        return await principals.present(PrincipalKind.AGENT, agent)

    return Decisions(
        Pipeline(line, services.recorder, records, metrics, awaited, Unasked(), counting),
        services.sessions,
        registered,
        services.clock,
        config.decisions.seconds,
        tracer,
    )


def _asking(name: str, settings: Settings, secrets: SecretSource) -> Asking:
    return Asking(
        name,
        settings.opa or settings.authzen or "",
        secrets=used_by(secrets, f"decisions.opinions.{name}"),
        credential=settings.credential,
        authorities=settings.authorities,
        seconds=settings.seconds,
    )


def _opinion(name: str, settings: Settings, asking: Asking, inputs: Inputs) -> SecondOpinion:
    actions = frozenset(Action(one) for one in settings.actions)
    if settings.authzen is not None:
        return AuthzenOpinion(name, actions, asking)
    return OpaOpinion(name, actions, asking, inputs)
