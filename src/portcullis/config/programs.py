"""Words of a command that are a program to what is run: an argument there would be code.

What is known: the options by which shells and interpreters take one, those of ``find`` and ``env``
that run a command, the first operand of ``awk`` and ``sed``, and that of programs that run another.
Any other program, and code that comes from a file or a variable, is not known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

_USUAL: Final = re.compile(r"-[a-zA-Z]*[ce]|--(eval|command|exec|expression)")
"""After such a word, most shells and interpreters take a program."""
_OWN: Final = {
    name: re.compile(options)
    for names, options in (
        ("python pypy", r"-[a-zA-Z]*c"),
        ("perl", r"-[a-zA-Z0-9]*[eEmM]"),
        ("php", r"-[a-zA-Z]*[BRErF]|--(run|process-begin|process-code|process-end)"),
        ("node nodejs bun deno", r"-[a-zA-Z]*[epr]|--(print|require|import)|eval"),
        ("ruby", r"-[a-zA-Z0-9]*[er]"),
        ("env", r"-[a-zA-Z0]*S|--split-string"),
        ("find", r"-(exec|execdir|ok|okdir)"),
        ("awk gawk mawk nawk", r"-[a-zA-Z]*[eilE]|--(source|include|load)"),
        ("sed", r"-[a-zA-Z]*e|--expression"),
    )
    for name in names.split()
}
"""What else is one after such a word, by the name of the program."""
_FIRST: Final = {
    **dict.fromkeys(("awk", "gawk", "mawk", "nawk"), "FvWl"),
    **dict.fromkeys(("nohup", "setsid"), ""),
    "sed": "l",
    "env": "uC",
    "nice": "n",
    "stdbuf": "ioe",
    "sudo": "CDghpRrTtUu",
    "xargs": "adEILnPs",
}
"""Their first operand is a program, unless an option has given one.

The value of an option is none: by the options that take the next word for one.
"""
_GIVEN: Final = re.compile(r"-[a-zA-Z]*[ef]|--(expression|file|source)(=.*)?")
_VERSION: Final = re.compile(r"[0-9.]+$")


def program_before(words: Sequence[str], word: str) -> str:
    """After which of ``words`` the next one, ``word``, is a program; empty where it is none."""
    if _USUAL.fullmatch(words[-1]):
        return words[-1]
    for place, each in enumerate(words):
        name = _VERSION.sub("", PurePosixPath(each).name)  # /usr/bin/perl5.36 is perl
        rest = words[place + 1 :]
        own = _OWN.get(name)
        if own is not None:
            if rest and own.fullmatch(rest[-1]):
                return rest[-1]
            if option := _joined(own, word):
                return option
        given = any(map(_GIVEN.fullmatch, rest))
        if name in _FIRST and not given and not word.startswith("-"):
            value = re.compile(rf"-[a-zA-Z]*[{_FIRST[name]}]") if _FIRST[name] else None
            if value is not None and value.fullmatch(words[-1]) and rest:
                continue
            if not _operands(rest, value):
                return each
    return ""


def _operands(words: Sequence[str], value: re.Pattern[str] | None) -> list[str]:
    """Those that are neither options, nor values of one, nor settings (``A=1``)."""
    return [
        word
        for before, word in zip(("", *words), words, strict=False)
        if not (word.startswith("-") or "=" in word)
        and (value is None or value.fullmatch(before) is None)
    ]


def _joined(options: re.Pattern[str], word: str) -> str:
    """The option at the beginning of a word that has its program in it: ``-E{x}``."""
    option = word.partition("{")[0].removesuffix("=")
    return option if option.startswith("-") and options.fullmatch(option) else ""
