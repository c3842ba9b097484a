"""The command line: nouns, then verbs.

Rules for output: stdout is data, stderr is for people. An error is two lines, ``error:`` with its
code and ``hint:`` with what to do. Exit codes: 0 ok, 1 fault, 2 usage, 3 denied, 4 approval
pending, 5 verification failed.
"""

from __future__ import annotations

import sys

import typer

from portcullis.cli import (
    agent,
    application,
    audit,
    bench,
    demo,
    doctor,
    explain,
    init,
    logs,
    mcp,
    operator,
    policy,
    session,
    up,
)
from portcullis.core.errors import Problem

app = typer.Typer(
    name="portcullis",
    help="The gate that every action of every AI agent passes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("up")(up.up)
app.command("demo")(demo.demo)
app.command("init")(init.init)
app.command("doctor")(doctor.doctor)
app.command("explain")(explain.explain)
app.command("version")(explain.version)
app.command("mcp", context_settings={"ignore_unknown_options": True})(mcp.mcp)
app.add_typer(agent.app, name="agent", help="Agents: create, list, show, token.")
app.add_typer(application.app, name="application", help="Applications that open sessions.")
app.add_typer(operator.app, name="operator", help="Operators of this deployment.")
app.add_typer(session.app, name="session", help="Sessions: open, show, close.")
app.add_typer(policy.app, name="policy", help="Policy: check, build, decide.")
app.add_typer(audit.app, name="audit", help="The log: tail, query, verify, prove.")
app.add_typer(bench.app, name="bench", help="Measure the gate on this machine.")

_DENIED, _VERIFICATION, _USAGE, _FAULT = 3, 5, 2, 1


def main() -> None:
    """Run the command line and exit with its code."""
    logs.configure()
    try:
        app()
    except Problem as problem:
        sys.stderr.write(f"error: {problem.code} {problem.entry.title}: {problem.detail}\n")
        sys.stderr.write(f"hint: {problem.hint}\n")
        sys.exit(exit_code(problem))
    except KeyboardInterrupt:
        sys.exit(130)


def exit_code(problem: Problem) -> int:
    """The exit code that stands for a problem."""
    if problem.code == "PC6005":
        return _VERIFICATION
    if problem.code == "PC7004":
        return _USAGE
    return _DENIED if problem.code.startswith("PC3") else _FAULT
