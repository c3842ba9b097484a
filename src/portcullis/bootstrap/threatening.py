"""What the console's threat model stands on: configuration, the policy in force, and the pins."""

from __future__ import annotations

from collections.abc import Callable

from portcullis.catalogue.schema import fault
from portcullis.config import Config
from portcullis.control.services import Services
from portcullis.core.errors import Problem
from portcullis.policy.delivery import sources
from portcullis.policy.grammar import parse
from portcullis.review.threats import Model, threat_model
from portcullis.review.threats_proofs import own_record
from portcullis.review.threats_scene import Scene


def threatened(config: Config, services: Services) -> Callable[[], Model] | None:
    """What draws the threat model of now; None where there are no releases of policy.

    It blocks, and raises Problem PC7030 while no release is active.
    """
    releases = services.release_parts
    if releases is None:
        return None

    def drawn() -> Model:
        active = releases.book.standing().active
        if active is None:
            raise Problem("PC7030", "no release of policy is active yet")
        policy = parse(sources(releases.book.files(active.number)), fault)
        pins = services.pins.all()
        return threat_model(Scene(config, policy, services.clock.now(), pins), own_record())

    return drawn
