"""The policy in force: from its folder to all that has to know of a new one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from portcullis.bootstrap.firewall import Detectors, findable, known, warm
from portcullis.catalogue.inventory import LocalInventory
from portcullis.catalogue.schema import fault
from portcullis.config import Config
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.gateway.records import changed
from portcullis.policy.engine import CompiledPolicy
from portcullis.policy.reload import PolicyReload

log = structlog.get_logger(__name__)


def governed(
    config: Config,
    services: Services,
    found: Detectors,
    inventory: LocalInventory,
    refused: Callable[[Problem], None],
) -> PolicyReload:
    """Load the policy and have a new one adopted everywhere, on the loop that this is called on.

    ``refused`` records one that is not adopted later; the first raises its Problem.
    """
    loop, entities = asyncio.get_running_loop(), findable(config.inspection)

    def adopt(new: CompiledPolicy) -> None:
        known(new, entities)
        in_force = {"policy": new.digest}
        services.recorder.enqueue(
            changed(services.gateway, services.clock, "policy.activate", in_force)
        )
        inventory.narrow(new.schemas)
        inventory.tolerate(new.tolerated)
        loop.run_in_executor(None, warm, new, found.built)
        loop.call_soon(services.feed.policy_changed)  # once it is in force
        log.info("policy_activated", **in_force)

    def report(problem: Problem) -> None:
        log.error("policy_refused", code=problem.code, detail=problem.detail)
        refused(problem)

    policy = PolicyReload(config.policy, fragment=fault, adopt=adopt, report=report)
    services.feed.by_role(policy.pdp.role_of, policy.pdp.roles)
    return policy
