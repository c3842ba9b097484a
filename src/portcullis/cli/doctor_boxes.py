"""What ``portcullis doctor`` says of boxes: whether they can be had, and what is in each."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from portcullis.bootstrap.sandboxes import adapter
from portcullis.cli.doctor_finding import Finding
from portcullis.config import Config
from portcullis.config.boxed import NONE
from portcullis.config.sandbox import lowered
from portcullis.config.tools import profiles
from portcullis.core.errors import Problem
from portcullis.core.sandbox import Ability, Profile
from portcullis.execution.inside import Inside, absent, inside
from portcullis.execution.sandbox.orders import DELEGATE, delegated

_INSTALL = "Install bubblewrap: `apt-get install bubblewrap`."
_OTHER = "Name another profile, or another sandbox.adapter: see `portcullis sandbox show`."


def boxes(config: Config) -> Iterator[Finding]:
    """Of each server and tool that is a command: its box, and what is mounted; or that it has none.

    Tries what this machine can enforce, once, where anything needs a box.
    """
    tools = dict(profiles({}, config.tools))
    servers = {f"mcp.{name}": one for name, one in config.mcp.items() if one.command}
    known = config.sandbox.named()
    used = {name: one.sandbox for name, one in servers.items()} | tools
    ability = _ability(config) if any(one != NONE for one in used.values()) else None
    for name, profile in used.items():
        if profile == NONE:
            found = "none: what runs there can do all that the gate's own user can"
            yield Finding(f"box of {name}", ok=True, found=found)
        elif isinstance(ability, Problem):
            yield Finding(f"box of {name}", ok=False, found=ability.detail, do=ability.hint)
        elif ability is not None:
            yield _held(name, known[profile], ability, config)
    for name, what in _commands(config):
        program = what.argv[0]
        if name.startswith("tools.") and shutil.which(program, path=what.path) is None:
            do = f"Install {program}, or give its full path in {name}.command."
            yield Finding(f"command of {name}", ok=False, found=f"{program} is not there", do=do)
        for word in absent(what):
            yield Finding(
                f"box of {name}",
                ok=False,
                found=f"the command names {word}, which is not in the box",
                do=f"Add it to {name}.mounts: {word}:ro",
            )


def _ability(config: Config) -> Ability | Problem:
    try:
        return adapter(config.sandbox.adapter, config.sandbox.kubernetes).probe()
    except Problem as problem:
        return problem


def _held(name: str, profile: Profile, ability: Ability, config: Config) -> Finding:
    missing = profile.demands - ability.enforces
    if missing:
        why: dict[str, list[str]] = {}
        for hold in sorted(missing):
            why.setdefault(ability.lacking.get(hold, "missing"), []).append(hold)
        found = "; ".join(f"{', '.join(holds)}: {reason}" for reason, holds in why.items())
        if delegated(missing):
            do = DELEGATE
        else:
            do = _OTHER if ability.enforces or ability.adapter != "bubblewrap" else _INSTALL
        return Finding(f"box of {name}", ok=False, found=found, do=do)
    less = lowered(profile)
    said = [profile.name, *([f"looser than strict ({', '.join(less)})"] if less else [])]
    mounts = [what.mounts for one, what in _commands(config) if one == name]
    given = [f"{one.target}:{'rw' if one.writable else 'ro'}" for one in next(iter(mounts), ())]
    return Finding(f"box of {name}", ok=True, found=", ".join([*said, *given]))


def _commands(config: Config) -> Iterator[tuple[str, Inside]]:
    """What is a command and in a box, by its name in the configuration."""
    path = os.environ.get("PATH", "")
    for name, server in config.mcp.items():
        if server.command and server.sandbox != NONE:
            yield (
                f"mcp.{name}",
                inside(server.command, path=path, cwd=server.cwd, mounts=server.mounts),
            )
    for name, tool in config.tools.items():
        for one, command in tool.commands.items():
            yield (
                f"tools.{name}.commands.{one}",
                inside(command.command, path=path, cwd=command.cwd, mounts=command.mounts),
            )
