"""The suites' catalogues and policies: the YAML beside this file, read as any policy is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from portcullis.catalogue.schema import fault
from portcullis.core.call import Context
from portcullis.core.containment import Containment, ToolModel
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.pdp import RegoPdp, compile_files
from portcullis.policy.source import SourceFile

AGENTS: Final = {
    "banking": "banking-assistant",
    "slack": "team-assistant",
    "travel": "travel-planner",
    "workspace": "office-assistant",
}
"""Who works on each suite."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One suite's policy in force.

    ``tools`` is what ``agent`` may call, ``models`` what tools mean (both unqualified).
    """

    agent: str
    pdp: RegoPdp
    tools: frozenset[str]
    models: Mapping[str, ToolModel]
    containment: Containment


def texts() -> dict[str, str]:
    """The files, by name."""
    folder = resources.files("portcullis.redteam").joinpath("suites")
    return {
        f"{suite}.yaml": folder.joinpath(f"{suite}.yaml").read_text("utf-8") for suite in AGENTS
    }


def digest() -> str:
    """SHA-256 (hex) of all files, in the order of their names, each with its name and a NUL."""
    found = hashlib.sha256()
    for name, text in sorted(texts().items()):
        found.update(f"{name}\0{text}\0".encode())
    return found.hexdigest()


@cache
def catalogue(suite: str, tools: frozenset[str]) -> Catalogue:
    """Compile a suite's policy and ask it which of ``tools`` its agent may use.

    Raises Problem PC7002 when the file is no policy.
    """
    name = f"{suite}.yaml"
    return compiled(SourceFile(name, texts()[name]), suite, AGENTS[suite], tools)


def compiled(source: SourceFile, server: str, agent: str, tools: Iterable[str]) -> Catalogue:
    """Compile a policy and ask it which of a server's ``tools`` an agent may use.

    Raises Problem PC7002 when the file is no policy.
    """
    engine = RegorusEngine()
    policy = compile_files((source,), fault, engine)
    pdp = RegoPdp(policy, engine)
    return Catalogue(
        agent=agent,
        pdp=pdp,
        tools=_granted(pdp, server, agent, tools),
        models={key.partition(".")[2]: model for key, model in policy.models.items()},
        containment=policy.containments[agent],
    )


def _granted(pdp: RegoPdp, server: str, agent: str, tools: Iterable[str]) -> frozenset[str]:
    principal = Principal(kind=PrincipalKind.AGENT, id=agent, credential="replay", expires_at=0.0)
    context = Context(
        principal=principal, session=None, source="replay", trace_id="0" * 32, received_at=0.0
    )
    return pdp.visible("tools", server, tuple(sorted(tools)), context)
