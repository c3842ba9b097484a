"""If these fail, a model writes the program that a tool runs."""

import pytest

from portcullis.config.tools import CommandTool

PROGRAMS = {
    "perl": ["perl", "-E", "{x}"],
    "joined": ["/usr/bin/perl5.36", "-nE{x}"],
    "php": ["php", "-r", "{x}"],
    "awk": ["awk", "-F:", "{x}", "file"],
    "sed": ["sed", "-n", "s/{x}//"],
    "find": ["find", "/srv", "-exec", "{x}"],
    "split": ["env", "-S", "{x}"],
    "through": ["env", "A=1", "{x}"],
    "behind": ["env", "perl", "-E", "{x}"],
    "shell": ["sh", "-c", "{x}"],
    "long": ["gawk", "--source={x}"],
    "apart": ["awk", "-F", ",", "{x}", "file"],
    "user": ["sudo", "-u", "app", "{x}"],
    "python": ["/usr/bin/python3.11", "-Ic{x}"],
    "print": ["node", "-p", "{x}"],
}
OPERANDS = {
    "grep": ["grep", "-E", "{x}"],
    "sed": ["sed", "-e", "s/a/b/", "{x}"],
    "awk": ["awk", "-f", "program.awk", "{x}"],
    "separator": ["awk", "-F", "{x}", "-f", "program.awk"],
    "niceness": ["nice", "-n", "{x}", "tool"],
    "text": ["python3", "tool.py", "-m", "{x}"],
    "script": ["perl", "script.pl", "{x}"],
    "find": ["find", "{x}", "-name", "y"],
    "env": ["env", "A=1", "tool", "{x}"],
}
ARGUMENTS = {"type": "object", "properties": {"x": {}}}


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_argument_is_no_program(name):
    with pytest.raises(ValueError, match="would be a program"):
        CommandTool(command=tuple(PROGRAMS[name]), arguments=ARGUMENTS)


@pytest.mark.parametrize("name", OPERANDS)
def test_an_operand_may_be_an_argument(name):
    command = tuple(OPERANDS[name])
    assert CommandTool(command=command, arguments=ARGUMENTS).command == command
