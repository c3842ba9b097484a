"""Every command that a page shows is one that the program has, with options that it knows."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from docs_pages import shown
from portcullis import cli

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.parent.name != "reference"),
]
ENDS = {"&&", "||", "|", ";", ">", "2>", "&", ")"}


@pytest.fixture(scope="module")
def commands():
    """The command that words lead to, each noun's imported when it is first asked for."""
    nouns = {}

    def command(words):
        noun = words[0]
        if noun not in nouns:
            nouns[noun] = typer.main.get_command(cli._app(noun))
        found, rest = nouns[noun].commands[noun], words[1:]
        while hasattr(found, "commands"):
            if noun == "bench" and (not rest or rest[0].startswith("-")):
                rest = ["gate", *rest]  # which is what it does by default
            if not rest or rest[0] not in found.commands:
                break
            found, rest = found.commands[rest[0]], rest[1:]
        return found, rest

    return command


def calls(line):
    """The words after each ``portcullis`` of a command line, up to what ends the command."""
    line = re.sub(r"(^| )# .*$", "", line.replace("...", "").replace("\\\n", " "))
    line = re.sub(r"\$\((?!\w* *portcullis)[^()]*\)", "SAID", line)  # what another program says
    line = re.sub(
        r"\[([^]]*)\]", lambda one: one[1].replace("|", " "), line
    )  # what may be left out
    words = shlex.split(re.sub(r"(?<=\s)[|<>&]+|[();]", r" \g<0> ", line.replace("$(", " ")))
    for place, word in enumerate(words):
        if word == "portcullis":
            rest = words[place + 1 :]
            ends = [n for n, one in enumerate(rest) if one in ENDS]
            yield rest[: ends[0]] if ends else rest


def fault(command, rest, *, whole):
    """What is wrong with the words after a command; empty when nothing is."""
    if hasattr(command, "commands"):
        verb = bool(rest) and rest[0].islower() and not rest[0].startswith("-")
        return f"no verb {rest[0]}" if verb else ""
    context = command.context_class(command)
    try:
        given, _, _ = command.make_parser(context).parse_args(list(rest))
    except Exception as error:  # noqa: BLE001 - Typer brings a click of its own
        unknown = type(error).__name__ == "NoSuchOption"
        return str(error) if whole or unknown else ""
    needed = [one.name for one in command.params if one.required and given.get(one.name) is None]
    return f"without {needed}" if whole and needed else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_a_page_is_one_of_the_programs(page, commands):
    wrong = []
    for line, whole in shown(page):
        for words in calls(line):
            if not words or words[0].startswith("-"):
                continue
            if words[0] not in cli._COMMANDS:
                wrong.append(f"{line}: no command {words[0]}")
            elif said := fault(*commands(words), whole=whole and " ... " not in line):
                wrong.append(f"{line}: {said}")
    assert wrong == []


def test_a_command_that_is_not_there_is_found(commands):
    assert fault(*commands(["approval", "lst"]), whole=False) == "no verb lst"
    assert "--alll" in fault(*commands(["approval", "list", "--alll"]), whole=False)
    assert fault(*commands(["approval", "deny", "ID"]), whole=True) == "without ['reason']"
    assert fault(*commands(["approval", "deny", "ID"]), whole=False) == ""
    assert fault(*commands(["bench", "--only", "json"]), whole=True) == ""
