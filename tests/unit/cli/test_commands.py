"""The command line as a whole: what holds of every command, without a list of them by hand."""

import json
import re
import sys

import pytest

from portcullis import cli
from portcullis.cli import completion
from portcullis.cli.tree import described, leaves
from portcullis.core.codes import CODES

WITHOUT_JSON = {
    "up": "it runs until it is stopped; its logs are JSON lines, its answers are the API's",
    "control": "the same",
    "gateway": "the same",
    "restart": "it asks `up` to begin its workers anew, and says when they have",
    "mcp": "its standard streams are the protocol's",
    "run": "its standard streams are the agent's",
    "sandbox run": "its standard streams are the command's",
    "tenant up": "it runs until it is stopped, and passes on what tenants say",
}
"""Commands whose output is not data, and why."""


@pytest.fixture(scope="module")
def commands():
    return {
        words: command
        for name in cli._COMMANDS
        for words, command in leaves(name, cli.command(name))
    }


def options(command):
    return {name for one in command.params for name in one.opts}


def test_every_command_gives_json_or_says_here_why_not(commands):
    without = {words for words, command in commands.items() if "--json" not in options(command)}
    assert without == WITHOUT_JSON.keys()
    assert len(commands) > 90


def test_every_option_and_argument_says_what_it_is(commands):
    mute = [
        f"{words} {one.name}"
        for words, command in commands.items()
        for one in command.params
        if not (getattr(one, "help", None) or one.name in {"help", "install_completion"})
    ]
    assert mute == []


def test_the_help_of_every_command_is_a_sentence(commands):
    first = {
        words: (command.help or "").partition("\n\n")[0] for words, command in commands.items()
    }
    assert [
        words for words, said in first.items() if not re.match(r"[A-Z].*[.]$", said, re.DOTALL)
    ] == []


def test_an_error_under_json_is_one_object_in_the_last_line(monkeypatch, capsys):
    for words, parsed in (
        (["explain", "PC9999", "--json"], True),
        (["explain", "PC9999"], False),
    ):
        monkeypatch.setattr(sys, "argv", ["portcullis", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        assert (ended.value.code, said.out) == (2, "")
        if parsed:
            problem = json.loads(said.err.splitlines()[-1])
            assert problem.keys() == {"code", "title", "detail", "hint"}
            assert problem["code"] == "PC7006"
        else:
            assert said.err.startswith("error: PC7006 ")


def test_what_is_typed_after_two_dashes_is_not_the_commands(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["portcullis", "explain", "--", "--json"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "error: PC7006" in capsys.readouterr().err


def asked(*words):
    return [word for word, _ in completion.answers(words, cli._COMMANDS)]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "portcullis"


def test_commands_options_and_codes_are_completed(cache):
    assert asked("ap") == ["application", "approval"]
    assert {"explain", "audit"} <= set(asked())
    assert asked("approval", "app") == ["approve"]
    assert "--follow" in asked("audit", "tail", "--f")
    assert asked("audit", "tail", "--risk", "de") == ["delete"]
    assert asked("audit", "tail", "--code", "PC3040") == ["PC3040"]
    assert asked("explain", "") == list(CODES)
    assert asked("completion", "") == ["bash", "zsh", "fish"]
    assert asked("approval", "list", "--state", "pend") == ["pending"]
    assert asked("nonsense", "") == []


def test_what_a_command_takes_is_read_once_and_again_after_an_update(cache, monkeypatch):
    first = asked("explain", "--")
    assert "--json" in first
    (kept,) = cache.iterdir()
    monkeypatch.setattr(cli, "command", lambda name: pytest.fail("it was read again"))
    assert asked("explain", "--") == first
    monkeypatch.undo()
    kept.write_text("half a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    assert asked("explain", "--") == first
    cache.chmod(0o777)
    assert completion._cache("explain") is None


def test_every_command_can_be_described():
    for name in cli._COMMANDS:
        found = described(cli.command(name))
        assert found["options"], name
        assert json.loads(json.dumps(found)) == found
