"""``portcullis kill``: cut off an agent, a session, a role or everybody, and hear who obeyed.

About everybody it signs an order with the deployment's own key (``state/keys/kill.pem``), which the
control plane obeys without a database, a log or a login. The answer to a script is the exit code: 0
when every gateway acted and it is on record for good, 1 when one did not or something is missing;
what was killed is killed either way.
"""

from __future__ import annotations

import json as codec
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from portcullis.bootstrap import kept_order, signed_order
from portcullis.cli.operate import operations, running_gate, running_gateways
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.config import Config, load
from portcullis.control.kills_api import GatewayView, KilledView, KillView, UndoneView
from portcullis.core.errors import Problem
from portcullis.core.feed import KillScope

_REASON: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_VALUE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PLAYBOOK: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_UNSAID: Final = "killed by an operator"


def kill(
    agent: Annotated[str | None, typer.Option(help="This agent, by name.")] = None,
    session: Annotated[str | None, typer.Option(help="This session, by id.")] = None,
    role: Annotated[
        str | None, typer.Option(help="Every agent that the policy in force gives this role.")
    ] = None,
    *,
    all: Annotated[  # noqa: A002 - the option's name
        bool, typer.Option("--all", help="Every agent, application and user.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take it back; needs --reason.")] = False,
    reason: Annotated[
        str, typer.Option(help="Why; who is killed hears it, and it stands in the log.")
    ] = "",
    incident: Annotated[
        str | None,
        typer.Option(
            metavar="PLAYBOOK", help="Open an incident about it, to be led by this playbook."
        ),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Cut off at once and everywhere. Without a target: list who is killed."""
    target = _target(agent, session, role, everybody=all)
    if reason and _REASON.fullmatch(reason) is None:
        raise Problem("PC7004", "--reason is one line of 1 to 200 characters")
    if incident is not None:
        _check_incident(target, incident, undo=undo)
    settings = load(config)
    if target is None:
        if undo or reason:
            raise Problem("PC7004", "say whom: --agent, --session, --role or --all")
        with operations(settings) as found:
            _list(found.kills(), as_json=json)
        return
    if undo and not reason:
        raise Problem("PC7004", "--undo needs --reason: it stands in the log")
    scope, value = target
    if scope == "all":
        done = _ordered(settings, reason, undo=undo)
    else:
        with operations(settings) as do:
            if undo:
                done = do.undo(scope, value, reason)
            else:
                done = do.kill(scope, value, reason, incident or "")
    _offer(done, settings)
    _print(_unled(settings, done), as_json=json)


def _check_incident(target: tuple[KillScope, str] | None, playbook: str, *, undo: bool) -> None:
    if undo or target is None or target[0] not in {"agent", "session"}:
        raise Problem("PC7004", "--incident goes with a kill of --agent or --session")
    if _PLAYBOOK.fullmatch(playbook) is None:
        raise Problem("PC7004", "--incident is a playbook's name: see `incident playbooks`")


def _offer(done: KilledView | UndoneView, settings: Config) -> None:
    """Say how to go on."""
    if not isinstance(done, KilledView) or done.scope not in {"agent", "session"}:
        return
    if done.incident:
        print(
            f"incident {done.incident}: portcullis incident show {done.incident}", file=sys.stderr
        )
    elif settings.incidents.on_kill == "offer":
        whom = f"--{done.scope} {done.value}"
        print(f"to follow it up: portcullis incident open {whom} --reason ...", file=sys.stderr)


def _target(
    agent: str | None, session: str | None, role: str | None, *, everybody: bool
) -> tuple[KillScope, str] | None:
    named: dict[KillScope, str | None] = {"agent": agent, "session": session, "role": role}
    found: list[tuple[KillScope, str]] = [
        (scope, value) for scope, value in named.items() if value is not None
    ]
    if everybody:
        found.append(("all", ""))
    if len(found) > 1:
        raise Problem("PC7004", "one of --agent, --session, --role and --all at a time")
    for scope, value in found:
        if scope != "all" and _VALUE.fullmatch(value) is None:
            raise Problem("PC7004", f"--{scope} is 1 to 64 of A-Z, a-z, 0-9, -, _ and .")
    return found[0] if found else None


def _ordered(config: Config, reason: str, *, undo: bool) -> KilledView | UndoneView:
    """Everybody, by a signed order: to the control plane that runs, or for the next that starts."""
    order = signed_order(config, "undo" if undo else "kill", reason or _UNSAID)
    try:
        with operations(config) as do:
            return do.order(order)
    except Exception as error:
        if undo and isinstance(error, Problem):
            raise _still_killed(error) from None
        if undo or running_gate(config) is not None:
            raise
        kept_order(config, order)
        fault = error.code if isinstance(error, Problem) else type(error).__name__
        print(f"nothing runs, and the database was not reached ({fault})", file=sys.stderr)
        return KilledView(
            scope="all",
            value="*",
            reason=reason or _UNSAID,
            gateways=[],
            cancelled=0,
            recorded=False,
            durable=True,
            faults=[],
        )


def _still_killed(error: Problem) -> Problem:
    """Why nothing was taken back, and what has to be there for it."""
    hint = (
        "The kill stands: start the control plane, with its database and log, and say it again."
        f" {error.hint}"
    )
    return Problem(error.code, error.detail, hint=hint)


def _unled(config: Config, done: KilledView | UndoneView) -> KilledView | UndoneView:
    """The same with the gateways that run without a control plane: nobody has asked them."""
    if done.gateways or running_gate(config) is not None:
        return done
    silent = [
        GatewayView(
            gateway=name,
            acknowledged_ms=None,
            runs=0,
            connections=0,
            own_ms=0.0,
            closed_within_s=config.feed.lease_seconds,
        )
        for name in sorted(running_gateways(config))
    ]
    return done.model_copy(update={"gateways": silent})


def _list(kills: Sequence[KillView], *, as_json: bool) -> None:
    if as_json:
        print(codec.dumps([one.model_dump() for one in kills]))
        return
    for one in kills:
        made = datetime.fromtimestamp(one.made_at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        when = f"{made} by {one.by or '?'}" if one.made_at else "not in the database"
        print(f"{_name(one.scope, one.value)}  {when}  {one.reason}")
    if not kills:
        print("Nobody is killed.", file=sys.stderr)


def _print(done: KilledView | UndoneView, *, as_json: bool) -> None:
    killed = isinstance(done, KilledView)
    complete = all(one.acknowledged_ms is not None for one in done.gateways)
    if isinstance(done, KilledView):
        complete = complete and done.recorded and done.durable and not done.faults
    if as_json:
        print(codec.dumps(done.model_dump() | {"complete": complete}))
    else:
        print(f"{'Killed' if killed else 'Taken back'}: {_name(done.scope, done.value)}")
        for one in done.gateways:
            print(f"  {_gateway(one)}")
        if not done.gateways:
            print("No gateway runs: whichever starts next knows of it.", file=sys.stderr)
        if isinstance(done, KilledView):
            if done.cancelled:
                print(f"  approvals cancelled: {done.cancelled}")
            for fault in done.faults:
                print(f"{fault.code}: {fault.detail}", file=sys.stderr)
    if not complete:
        raise typer.Exit(1)


def _gateway(one: GatewayView) -> str:
    if one.acknowledged_ms is None:
        when = f"within {one.closed_within_s:g} s" if one.closed_within_s else "by now"
        return f"{one.gateway}  DID NOT ANSWER: it refuses everything {when}"
    ended = f"{one.runs} calls and {one.connections} connections ended"
    return f"{one.gateway}  {one.acknowledged_ms:.1f} ms  {ended}"


def _name(scope: str, value: str) -> str:
    return "everybody" if scope == "all" else f"{scope} {value}"
