"""The reference of the command line: the help of every command, as it prints it."""

from collections.abc import Iterator

import click
import typer

from portcullis import cli
from reference import heading

_WIDTH = 100


def commands() -> dict[str, click.Command]:
    """Every command by its words, groups included, in the order of the help."""
    found: dict[str, click.Command] = {}
    for name in cli._COMMANDS:  # noqa: SLF001 - the one list of them
        group = typer.main.get_command(cli._app(name))  # noqa: SLF001 - as `main` does
        found |= dict(_walk(name, group.commands[name]))
    return found


def _walk(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _walk(f"{words} {name}", below)


def page() -> str:
    """One section for each command."""
    lines = heading("The command line", "the commands' own help")
    lines += [
        "Nouns, then verbs. Standard output is data, standard error is for people; most commands",
        "take `--json`. Exit codes: 0 ok, 1 fault, 2 usage, 3 denied, 4 approval pending,",
        "5 verification failed. An error is a line with its [code](../errors.md) and one with what",
        "to do.",
    ]
    for words, command in commands().items():
        context = click.Context(
            command, info_name=f"portcullis {words}", terminal_width=_WIDTH, color=False
        )
        level = "##" if " " not in words else "###"
        shown = command.get_help(context).strip()
        lines += ["", f"{level} portcullis {words}", "", "```text", *shown.splitlines(), "```"]
    return "\n".join(line.rstrip() for line in lines) + "\n"
