"""The command line: nouns, then verbs.

Rules for output: stdout is data, stderr is for people. An error is two lines, ``error:`` with its
code and ``hint:`` with what to do; with --json it is one object (``code``, ``title``, ``detail``,
``hint``) in the last line of stderr. Exit codes: 0 ok, 1 fault, 2 usage, 3 denied, 4 approval
pending, 5 verification failed.

A command's module is imported when the command is used, so that ``portcullis explain`` does not
wait for the gate's libraries.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from importlib import import_module
from typing import Annotated, Any, Final, NoReturn

import typer

from portcullis.cli import completion
from portcullis.core.errors import Problem

_COMMANDS: Final = {
    "up": "Run the gate and its control plane.",
    "control": "Run the control plane alone.",
    "gateway": "Run one enforcement point, under a control plane.",
    "restart": "Have the workers of `up --workers` begin anew, one after the other.",
    "retire": "Have a gateway of another host never serve again.",
    "demo": "Watch a support agent work through the gate.",
    "init": "Write a configuration and a policy to start from.",
    "doctor": "Say what is missing on this machine and what to do.",
    "explain": "Explain an error code.",
    "version": "Print the version.",
    "completion": "Print the script that completes commands in a shell.",
    "run": "Run an agent in a box whose only way out is the gate.",
    "mcp": "Wrap a stdio MCP server: stdio on both sides, every check in between.",
    "agent": "Agents: their life, and how they get their identity.",
    "application": "Applications that open sessions.",
    "operator": "Operators of this deployment.",
    "credential": "Single tokens and certificates: revoke.",
    "ca": "The trust domain's authority: show, rotate, retire, offline, bundle.",
    "session": "Sessions: open, say, show, close, quarantine, release.",
    "limit": "What is left of limits, for whom and until when: list, show.",
    "breaker": "Circuit breakers: list, reset.",
    "secret": "Secrets: list, access, rotate, seal.",
    "kill": "Cut off an agent, a session, a role or everybody, at once and everywhere.",
    "console": "A link to the console that logs in, once.",
    "approval": "Calls that wait for a human: watch, list, show, approve, deny, lift.",
    "notify": "Channels to people: test, list.",
    "alert": "Alerts: list, show, ack, resolve, silence, silences, unsilence, rules.",
    "incident": "Incidents: open, list, show, step, note, approve, close, stand-down and more.",
    "behaviour": "What is usual for agents: list, show, ratify, reset, explain.",
    "review": "Calls to look at afterwards: list, show, close, reopen.",
    "catalogue": "Tools as they were approved: list, diff, draft, pin.",
    "canary": "Canaries for records of your own: mint.",
    "policy": "Policy: check, decide, test, diff, release, mine, review and more.",
    "inspect": "Say what the gate would find in a text, or in JSON lines.",
    "keys": "The key that seals what is at rest: status, rotate.",
    "backup": "Copy all of it while it runs: create, verify, restore, fence.",
    "migrate": "Move the records into another database: sqlite-to-postgres.",
    "tenant": "Tenants of a provider: create, list, up, check, remove.",
    "grant": "Accounts that users connected at upstreams: list, revoke.",
    "audit": "The log: query, access, export, verify, prove, witness and more.",
    "evidence": "Evidence for compliance frameworks: gaps, export, verify.",
    "sandbox": "Boxes: run, show, probe, manifest.",
    "bench": "Measure the gate on this machine.",
    "redteam": "Attack the gate and count what gets through: contain.",
}
_SILENT: Final = frozenset({"", "explain", "version", "completion"})
"""What logs nothing, and so does not wait for what would."""
_HOLDING: Final = frozenset({"up", "gateway", "control", "mcp", "run", "demo", "tenant"})
"""What holds credentials for as long as it runs."""
_LOGGED: Final = {"demo": "warning", "run": "critical"}
"""What is logged less: a person reads the one, and what is in a box would write in the other."""
_DENIED, _PENDING, _VERIFICATION, _USAGE, _FAULT = 3, 4, 5, 2, 1


def _app(wanted: str) -> typer.Typer:
    """The commands, of which only ``wanted`` is imported; the others are names in the help."""
    app = typer.Typer(
        name="portcullis",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_options)
    for name, about in _COMMANDS.items():
        if name != wanted:
            app.command(name, help=about)(_elsewhere)
            continue
        module = import_module(f"portcullis.cli.{name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name, help=about)
        else:
            app.command(name)(getattr(module, name))
    return app


def command(name: str) -> Any:
    """One command with all below it, as the command line runs it."""
    group: Any = typer.main.get_command(_app(name))
    return group.commands[name]


def _version(asked: bool) -> None:
    if asked:
        from portcullis import __version__  # noqa: PLC0415 - slow, and only for this

        print(__version__)
        raise typer.Exit


def _options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """The gate that every action of every AI agent passes."""


def _elsewhere() -> None:
    """A command that was not asked for."""


def main() -> None:
    """Run the command line and exit with its code."""
    if os.environ.get(completion.ASKED):
        completion.answer(sys.argv[1:], _COMMANDS)
        return
    wanted = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    if wanted not in _SILENT:
        from portcullis.cli import logs  # noqa: PLC0415 - slow

        logs.configure(_LOGGED.get(wanted, "info"))
    if wanted in _HOLDING:
        from portcullis.cli.cores import no_cores  # noqa: PLC0415 - for these only

        no_cores()
    gc.disable()  # of what is imported nothing is garbage; looking for it, here and at the end of
    # the process, takes a third of a short command's time
    try:
        app = _app(wanted)
        if not gc.get_freeze_count():  # once in a process
            gc.freeze()
        gc.enable()
        app()
    except Problem as problem:
        _end(problem)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - whoever runs a command gets a code, no traceback
        _end(_fault(error))


def _fault(error: Exception) -> Problem:
    """The problem that an error is which nobody foresaw: what the database or the machine says."""
    said = getattr(error, "orig", None) or error  # the driver's own error, without the statement
    if type(said).__module__.partition(".")[0] in {"sqlite3", "psycopg"}:
        hint = "Free it (a full disk, another process, file modes) and say it again."
        return Problem("PC7005", f"the database cannot be used: {said}", hint=hint)
    if isinstance(said, OSError) and said.strerror:
        place = f"{said.filename}: " if said.filename else ""
        return Problem("PC7005", f"{place}{said.strerror}")
    import structlog  # noqa: PLC0415 - slow, and rarely needed

    structlog.get_logger(__name__).exception("command_failed")
    hint = "It may be half done: see `portcullis audit tail`. Report this."
    return Problem("PC9002", type(error).__name__, hint=hint)


def _end(problem: Problem) -> NoReturn:
    words = sys.argv[1:]
    if "--json" in words[: words.index("--") if "--" in words else None]:
        said = {"code": problem.code, "title": problem.entry.title}
        said |= {"detail": problem.detail, "hint": problem.hint}
        sys.stderr.write(f"{json.dumps(said)}\n")
    else:
        sys.stderr.write(f"error: {problem.code} {problem.entry.title}: {problem.detail}\n")
        sys.stderr.write(f"hint: {problem.hint}\n")
    sys.exit(exit_code(problem))


def exit_code(problem: Problem) -> int:
    """The exit code that stands for a problem."""
    if problem.code in {"PC6005", "PC6020", "PC6033"}:
        return _VERIFICATION
    if problem.code in {"PC7004", "PC7006", "PC7093"}:
        return _USAGE
    if problem.code == "PC3040":
        return _PENDING
    if problem.code in {"PC3042", "PC3047", "PC3048", "PC3049"}:
        return _FAULT
    return _DENIED if problem.code.startswith("PC3") else _FAULT
