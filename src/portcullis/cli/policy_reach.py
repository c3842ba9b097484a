"""``portcullis policy reach``: what agents could do with all they are granted together."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from portcullis.catalogue.schema import fault
from portcullis.cli.audit_lines import clean
from portcullis.cli.json_lines import plain, write_line
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.policy_text import Against, named
from portcullis.cli.progress import progress
from portcullis.config import load
from portcullis.core.errors import Problem
from portcullis.policy.grammar import parse
from portcullis.policy.source import read
from portcullis.review.growth import Growth, growth
from portcullis.review.reach import Reach
from portcullis.review.reach import reach as reached

_FAILED = 5
_WORDS = ("trifecta", "ladder", "new")


def reach(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="The policy folder; default: the configuration's."),
    ] = None,
    *,
    agent: Annotated[list[str] | None, typer.Option(help="Only this agent; repeatable.")] = None,
    against: Against = "",
    fail_on: Annotated[
        list[str] | None,
        typer.Option(help="Exit with 5 when there is one: trifecta, ladder or new; repeatable."),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Show which agents read private data and outsiders' words and act outside, and their ladders.

    Against another policy, also what each agent may newly do.
    A ladder: what one tool writes, another reads as trusted, and a riskier one goes by.
    """
    wanted = frozenset(fail_on or ())
    if not wanted <= set(_WORDS) or ("new" in wanted and not against):
        raise Problem("PC7004", "--fail-on is trifecta, ladder or, with --against, new")
    policy = parse(read(directory or load(config).policy), fault)
    with progress("looking", quiet=as_json):
        found = [one for one in reached(policy) if not agent or one.agent in agent]
    missing = set(agent or ()) - {one.agent for one in found}
    if missing:
        raise Problem("PC2007", f"the policy has no agent {', '.join(sorted(missing))}")
    before = parse(named(against, config), fault) if against else None
    gained = () if before is None else growth(before, policy)
    gained = tuple(one for one in gained if not agent or one.agent in agent)
    for one in found:
        _show(one, as_json=as_json)
    for more in gained:
        show_new(more, as_json=as_json)
    there = {
        "trifecta": any(one.trifecta for one in found),
        "ladder": any(one.ladders for one in found),
        "new": bool(gained),
    }
    if any(there[word] for word in wanted):
        raise typer.Exit(_FAILED)


def _show(one: Reach, *, as_json: bool) -> None:
    if as_json:
        write_line({"kind": "reach", **plain(one), "trifecta": one.trifecta})
        return
    verdict = "TRIFECTA" if one.trifecta else "ok"
    lines = [f"{one.agent} ({one.role}): {verdict}, {len(one.tools)} tools"]
    for name in ("private", "untrusted", "outside", "undescribed"):
        lines += [f"  {name:11} {', '.join(getattr(one, name)) or '-'}"]
    if one.others:
        lines.append(f"  others      {', '.join(one.others)}")
    for ladder in one.ladders:
        lines.append(
            f"  ladder      {ladder.writes} -> {ladder.reads} (trusted {ladder.role}) -> "
            f"{ladder.acts} ({ladder.risk})"
        )
    sys.stdout.write("".join(f"{clean(line)}\n" for line in lines))


def show_new(one: Growth, *, as_json: bool) -> None:
    """Print what a change of policy newly allows an agent."""
    if as_json:
        write_line({"kind": "new", **plain(one)})
        return
    said = [
        *(f"tool {tool}" for tool in one.tools),
        *(f"higher risk of {tool}" for tool in one.raised),
        *(f"ladder {ladder.writes} -> {ladder.reads} -> {ladder.acts}" for ladder in one.ladders),
        *(["all three together"] if one.trifecta else []),
        *one.others,
        *(f"weaker: {what}" for what in one.weaker),
    ]
    sys.stdout.write("".join(f"{clean(f'new for {one.agent}: {what}')}\n" for what in said))
