"""Where in a deployment a threat is: what of its configuration and policy it is about.

Each function finds the subjects of one ``where`` of the data file, in a fixed order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import msgspec

from portcullis.config import Config
from portcullis.config.boxed import NONE
from portcullis.config.common import local, loopback
from portcullis.core.call import RiskClass
from portcullis.policy.egress import described
from portcullis.review.threats_scene import Scene, Seen, Upstream

_SHOWN: Final = 6


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What of a deployment a threat is about.

    ``about`` is its name (``agent support-1``), ``says`` what is so of it, in one sentence of this
    deployment's names. ``agent`` is the agent's, ``tools`` the tools meant, ``place`` the name of
    the server, process or file. ``opened``: whoever is outside reaches it.
    """

    about: str
    says: str
    agent: str = ""
    tools: tuple[str, ...] = ()
    place: str = ""
    opened: bool = False


Where: TypeAlias = Callable[[Scene], Iterator[Subject]]


def names(found: Sequence[str]) -> str:
    """Some of them, and how many more there are."""
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more


def many(count: int, what: str) -> str:
    """A number of things, in words."""
    return f"{count or 'no'} {what}" + ("" if count == 1 else "s")


def _subject(seen: Seen, says: str, tools: Sequence[str] = (), *, place: str = "") -> Subject:
    return Subject(
        about=f"agent {seen.name}",
        says=says,
        agent=seen.name,
        tools=tuple(tools),
        place=place,
        opened=bool(seen.reach.untrusted),
    )


def _tools(seen: Seen, found: Sequence[str]) -> tuple[str, ...]:
    return tuple(one for one in found if one in seen.reach.tools)


def _reads_outsiders(scene: Scene) -> Iterator[Subject]:
    for one in scene.agents:
        if one.reach.untrusted:
            outside = _tools(one, one.reach.outside)
            yield _subject(
                one, f"It reads what others wrote: {names(one.reach.untrusted)}.", outside
            )


def _trifecta(scene: Scene) -> Iterator[Subject]:
    for one in scene.agents:
        if one.reach.trifecta:
            says = (
                f"It reads private data ({names(one.reach.private)}) and others' words"
                f" ({names(one.reach.untrusted)}), and acts outside ({names(one.reach.outside)})."
            )
            yield _subject(one, says, _tools(one, one.reach.outside))


def _sends(scene: Scene) -> Iterator[Subject]:
    for one in scene.agents:
        if found := scene.of_class(one, RiskClass.EXTERNAL):
            yield _subject(one, f"It may use {names(found)}, of the class external.", found)


def _deletes(scene: Scene) -> Iterator[Subject]:
    for one in scene.agents:
        if found := scene.of_class(one, RiskClass.DELETE):
            yield _subject(one, f"It may use {names(found)}, of the class delete.", found)


def _undescribed(scene: Scene) -> Iterator[Subject]:
    for one in scene.agents:
        if found := one.reach.undescribed:
            says = f"It may use {names(found)}, and nothing says what goes in and comes back."
            yield _subject(one, says, found)


def _ladder(scene: Scene) -> Iterator[Subject]:
    for one in scene.agents:
        if found := one.reach.ladders:
            steps = [f"{each.writes} -> {each.reads} -> {each.acts}" for each in found]
            acts = sorted({each.acts for each in found})
            yield _subject(one, f"What one writes the other trusts: {names(steps)}.", acts)


def _reads_private(scene: Scene) -> Iterator[Subject]:
    for one in scene.agents:
        if found := _tools(one, one.reach.private):
            yield _subject(one, f"It reads private data with {names(found)}.", found)


def _uses_models(scene: Scene) -> Iterator[Subject]:
    for one in scene.agents:
        if found := [each.value for each in one.role.models]:
            yield _subject(one, f"It uses the models {names(found)}.")


def _has_tools(scene: Scene) -> Iterator[Subject]:
    for one in scene.agents:
        if found := one.reach.tools:
            yield _subject(
                one, f"It may use {many(len(found), 'tool')} of {names(scene.servers(one))}."
            )


def _any_agent(scene: Scene) -> Iterator[Subject]:
    for one in scene.agents:
        yield _subject(one, f"Its role is {one.reach.role}.")


def _provider_features(scene: Scene) -> Iterator[Subject]:
    for one in scene.agents:
        if found := [each.value for each in one.role.provider_features]:
            yield _subject(one, f"Providers may run {names(found)} for it.")


def _server_requests(scene: Scene) -> Iterator[Subject]:
    for one in scene.agents:
        if found := [each.value for each in one.role.server_requests]:
            yield _subject(one, f"Servers may ask it for {names(found)}.")


def _egress(scene: Scene) -> Iterator[Subject]:
    for one in scene.agents:
        if one.role.egress:
            yield _subject(one, f"It may go to {names([described(e) for e in one.role.egress])}.")


def _memory(scene: Scene) -> Iterator[Subject]:
    for one in scene.agents:
        found = [
            (name, scene.tools[name].memory)
            for name in one.reach.tools
            if name in scene.tools and scene.tools[name].memory is not None
        ]
        if found:
            stores = sorted({memory.store for _, memory in found if memory is not None})
            says = f"It shares the memory {names(stores)} with other sessions."
            yield _subject(one, says, [name for name, _ in found])


def _observed(scene: Scene) -> Iterator[Subject]:
    for one in scene.agents:
        if one.agent.observe is not None and one.agent.observe.holds(scene.now):
            until = one.agent.observe.until.text
            yield _subject(one, f"What nothing grants it is let through until {until}.")


def _without_owner(scene: Scene) -> Iterator[Subject]:
    for one in scene.agents:
        if not one.agent.owner:
            yield _subject(one, "The policy names no owner of it.")


def _processes(scene: Scene) -> Iterator[Subject]:
    for name, box in scene.processes.items():
        if not name.endswith(".code"):
            held = "in no box" if box == NONE else f"in a box of the profile {box}"
            yield Subject(about=f"process {name}", says=f"The gate starts it {held}.", place=name)


def _code(scene: Scene) -> Iterator[Subject]:
    for name, box in scene.processes.items():
        if name.endswith(".code"):
            server = name.split(".")[1]
            who = [one.name for one in scene.agents if f"{server}.execute_code" in one.reach.tools]
            says = f"{names(who) or 'No agent'} may have code run there, in a box of {box}."
            yield Subject(about=f"process {name}", says=says, place=name, opened=bool(who))


def _mcp_servers(scene: Scene) -> Iterator[Subject]:
    for name, one in sorted(scene.config.mcp.items()):
        who = [seen.name for seen in scene.agents if name in scene.servers(seen)]
        kind = "a program of this machine" if one.url is None else f"at {_host(one.url)}"
        says = f"It is {kind}, and {names(who) or 'no agent'} may use what it offers."
        yield Subject(about=f"server {name}", says=says, place=name)


def _upstreams(scene: Scene) -> Iterator[Subject]:
    for name, one in scene.upstreams.items():
        if not loopback(url := one.url or ""):
            says = f"The gate reaches it at {urlsplit(url).scheme}://{_host(url)}."
            yield Subject(about=f"upstream {name}", says=says, place=name)


def _credentials(scene: Scene) -> Iterator[Subject]:
    for name, one in scene.upstreams.items():
        if one.credential is None and not one.inject and one.oauth is None:
            continue
        who = [seen.name for seen in scene.agents if name in scene.servers(seen)]
        used = f", for {names(who)}" if who else ""
        says = f"The gate shows it {_shown(one)}{used}."
        yield Subject(about=f"upstream {name}", says=says, place=name)


def _shown(one: Upstream) -> str:
    if one.oauth is None:
        return "one credential, the same for every call"
    return {
        "client": "tokens of its own, the same for every call",
        "user": "a token of the user whose session it is",
        "exchange": "a token made from the user's own",
    }[one.oauth.mode]


def _toolsets(scene: Scene) -> Iterator[Subject]:
    for name in sorted(scene.config.guard):
        who = [seen.name for seen in scene.agents if name in scene.servers(seen)]
        says = f"Its tools are functions in the programs of {names(who) or 'no agent yet'}."
        yield Subject(about=f"toolset {name}", says=says, place=name)


def _askers(scene: Scene) -> Iterator[Subject]:
    found = scene.config.decisions
    for kind, each in (("application", found.askers), ("peer", found.peers)):
        for name in sorted(each):
            says = "It asks for decisions, and carries them out by itself."
            yield Subject(about=f"{kind} {name}", says=says, place=name)


def _tokens(scene: Scene) -> Iterator[Subject]:
    if scene.agents:
        seconds = scene.config.tokens.ttl_seconds
        says = f"Tokens of {many(len(scene.agents), 'agent')} live {seconds} s."
        yield Subject(about="tokens", says=says)


def _listeners(scene: Scene) -> Iterator[Subject]:
    for name, address in listeners(scene.config):
        if not local(address):
            about = f"listener {name}"
            yield Subject(about=about, says=f"It is open to the network at {address}.", place=name)


def listeners(config: Config) -> Iterator[tuple[str, str]]:
    """Every TCP listener of a gate by its name, with its ``host:port``."""
    for name in ("gate", "control", "mtls", "tls", "bootstrap", "egress", "decisions"):
        if (address := getattr(config.listen, name)) is not None:
            yield name, address


def _the_policy(scene: Scene) -> Iterator[Subject]:
    changes, source = scene.config.policy_changes, scene.config.policy_source
    agents, roles = many(len(scene.policy.agents), "agent"), many(len(scene.policy.roles), "role")
    says = f"{agents} and {roles} stand in it; besides the proposer, "
    says += f"{changes.approvals or 'nobody'} approves a release."
    if source is not None:
        says += f" Bundles come from {_host(source.bundle)}."
    yield Subject(about="policy", says=says)


def _approvals(scene: Scene) -> Iterator[Subject]:
    found = [
        f"{one.name}: {tool}"
        for one in scene.agents
        for tool in one.reach.tools
        if scene.people(one, tool)
    ]
    if found or any(one.containment is not None for one in scene.agents):
        says = f"People are asked about {names(found) or 'what containment holds'}."
        yield Subject(about="approvals", says=says)


def _inspection(scene: Scene) -> Iterator[Subject]:
    if found := sorted(scene.config.inspection.without):
        yield Subject(about="inspection", says=f"Without the rules {names(found)}.")


def _the_log(scene: Scene) -> Iterator[Subject]:
    seconds = scene.config.audit.checkpoint_seconds
    says = f"It is written on the gate's machine, with a checkpoint every {seconds:g} s."
    yield Subject(about="log", says=says)


def _the_state(scene: Scene) -> Iterator[Subject]:
    says = f"Its key manager is of the kind {scene.config.keys.kind}."
    yield Subject(about="state directory", says=says)


def _host(url: str) -> str:
    return urlsplit(url).netloc


WHERE: Final[dict[str, Where]] = {
    found.__name__.strip("_").replace("_", "-"): found
    for found in (
        *(_reads_outsiders, _trifecta, _sends, _deletes, _undescribed, _ladder, _reads_private),
        *(_uses_models, _has_tools, _any_agent, _provider_features, _server_requests, _egress),
        *(_memory, _observed, _without_owner, _processes, _code, _mcp_servers, _upstreams),
        *(_credentials, _toolsets, _askers, _tokens, _listeners, _the_policy, _approvals),
        *(_inspection, _the_log, _the_state),
    )
}
"""By the names that the data file uses."""
