"""The policy in force: from its folder, or its release, to all that has to know of a new one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from portcullis.bootstrap.firewall import Detectors, findable, known, warm
from portcullis.bootstrap.releases import FolderNotice, InForce, binding, guarding, held, recording
from portcullis.catalogue.inventory import LocalInventory
from portcullis.catalogue.schema import fault
from portcullis.config import Config
from portcullis.config.places import Role
from portcullis.control.services import Services
from portcullis.core.alarm import Alarm
from portcullis.core.errors import Problem
from portcullis.core.release import Release
from portcullis.gateway.records import changed
from portcullis.policy.delivery import Delivery
from portcullis.policy.engine import CompiledPolicy
from portcullis.policy.observe import require_near
from portcullis.policy.reload import PolicyReload
from portcullis.policy.staged import StagedPdp

log = structlog.get_logger(__name__)

BEHIND_SECONDS: Final = 180.0
"""So long a process may decide by another release than the active one, or the lease if longer."""


@dataclass(frozen=True, slots=True)
class Governed:
    """The policy of a process. ``reload`` looks at the folder at once.

    ``behind``: what decides may not be the active release, for longer than that may be.
    """

    pdp: StagedPdp
    reload: Callable[[], None]
    behind: Callable[[], bool]
    works: Callable[[Alarm], tuple[Awaitable[object], ...]]
    """What keeps it up, to be run beside."""


async def governed(
    config: Config,
    services: Services,
    found: Detectors,
    inventory: LocalInventory,
    refused: Callable[[Problem], None],
) -> Governed:
    """Load the policy and have a new one adopted everywhere, on the loop that this is called on.

    ``refused`` records one that is not adopted later; the first raises its Problem.
    """
    loop, entities = asyncio.get_running_loop(), findable(config.inspection)
    release: Release | None = None
    files = None
    if bound := binding(config):
        release, files = await held(config, services)
    delivery: Delivery | None = None

    def adopt(new: CompiledPolicy) -> None:
        known(new, entities)
        require_near(new.observed, services.clock.now())
        taken = release if delivery is None else delivery.taken
        in_force: dict[str, object] = {"policy": new.digest}
        in_force |= {} if taken is None else {"release": taken.number}
        services.recorder.enqueue(
            changed(services.gateway, services.clock, "policy.activate", in_force)
        )
        inventory.narrow(new.schemas)
        inventory.tolerate(new.tolerated)
        loop.run_in_executor(None, warm, new, found.built)
        loop.call_soon(services.feed.policy_changed)  # once it is in force
        log.info("policy_activated", **in_force)

    def candidate(new: CompiledPolicy) -> None:
        known(new, entities)
        loop.run_in_executor(None, warm, new, found.built)

    def report(problem: Problem) -> None:
        log.error("policy_refused", code=problem.code, detail=problem.detail)
        refused(problem)

    rules = Role.of(services.gateway.rpartition("/")[2]).rules
    notice = FolderNotice(config, services, refused) if rules and bound else None
    found_there: asyncio.Queue[InForce] = asyncio.Queue()
    records = rules and not bound
    policy = PolicyReload(
        config.policy,
        fragment=fault,
        environment=config.environment,
        clock=services.clock,
        adopt=adopt,
        report=report,
        held=files,
        noticed=notice,
        in_force=lambda *those: found_there.put_nowait(those) if records else None,
    )
    services.feed.by_role(policy.pdp.role_of, policy.pdp.roles)
    if services.release_parts is None:
        return Governed(policy.pdp, policy.reload, lambda: False, lambda _: (policy.run(),))
    delivery = Delivery(
        services.release_parts.book,
        policy,
        services.gateway,
        binding=bound,
        check=candidate,
        report=report,
        clock=services.clock,
        taken=release,
        patience=max(BEHIND_SECONDS, config.feed.lease_seconds),
    )
    return Governed(
        policy.pdp,
        policy.reload,
        delivery.behind,
        partial(_works, services, policy, delivery, rules, found_there if records else None),
    )


def _works(
    services: Services,
    policy: PolicyReload,
    delivery: Delivery,
    rules: bool,  # noqa: FBT001 - bound by partial
    found_there: asyncio.Queue[InForce] | None,
    alarm: Alarm,
) -> tuple[Awaitable[object], ...]:
    works: tuple[Awaitable[object], ...] = (policy.run(), delivery.run())
    if rules:
        works += (guarding(services, alarm),)
    if found_there is not None:
        works += (recording(services, found_there),)
    return works
