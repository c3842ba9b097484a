"""What ``portcullis doctor`` says of agents that are observed."""

from __future__ import annotations

import time
from collections.abc import Iterator

from portcullis.catalogue.schema import fault
from portcullis.cli.doctor_finding import Finding
from portcullis.config import Config
from portcullis.core.errors import Problem
from portcullis.policy.grammar import parse
from portcullis.policy.source import read


def observed(config: Config) -> Iterator[Finding]:
    """Each agent that the policy has observed; one whose time is over should not be in it."""
    try:
        policy = parse(read(config.policy), fault)
    except Problem:
        return  # which is said elsewhere
    now = time.time()
    for agent in policy.agents:
        one = agent.observe
        if one is None:
            continue
        over = now >= one.until.seconds
        yield Finding(
            f"observed agent {agent.name.value}",
            ok=not over,
            found=(
                f"was observed until {one.until.text}"
                if over
                else f"until {one.until.text}, what no grant allows it is let through: {one.reason}"
            ),
            do="Take `observe:` out of the policy, and read the draft: docs/mining.md."
            if over
            else "",
        )
