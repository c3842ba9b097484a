"""``portcullis completion SHELL``, and what a shell is answered when somebody presses tab.

The script that it prints asks ``portcullis`` itself, with ``_PORTCULLIS_COMPLETE`` set and the
words so far (the last one unfinished) as arguments; each line of the answer is a word, a tab and
what it is. What a command takes is read from its module once and kept in the user's cache folder,
so that pressing tab does not wait for the gate's libraries.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from portcullis.cli.options import Json

ASKED: Final = "_PORTCULLIS_COMPLETE"
_MOST: Final = 200
_CONFIG: Final = ("-c", "--config")
_SECONDS: Final = 0.5
"""So long a database may take: it may be anybody's, with views that never end."""
_LONGEST: Final = 65536
"""Bytes of a configuration that is read, and of a value in a database."""
_WORDS: Final = {
    "risk": ("read", "modify", "external", "delete"),
    "verdict": ("allow", "hold", "deny", "error"),
}
_SCRIPTS: Final = {
    "bash": """\
_portcullis() {
    mapfile -t COMPREPLY < <(
        _PORTCULLIS_COMPLETE=1 "$1" "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f1)
}
complete -o default -F _portcullis portcullis
""",
    "zsh": """\
#compdef portcullis
_portcullis() {
    local -a found
    found=("${(@f)$(_PORTCULLIS_COMPLETE=1 "${words[1]}" "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    found=("${(@)found//:/\\\\:}")
    found=("${(@)found/$'\\t'/:}")
    if [[ -n "${found[1]}" ]]; then _describe portcullis found; else _files; fi
}
compdef _portcullis portcullis
""",
    "fish": """\
function __portcullis_complete
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    env _PORTCULLIS_COMPLETE=1 $words "$last" 2>/dev/null
end
complete -c portcullis -a '(__portcullis_complete)'
""",
}


class Shell(StrEnum):
    """The shells that there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.")], *, as_json: Json = False
) -> None:
    """Print the script that completes commands, options, error codes and names in a shell.

    Load it from the shell's start-up file, such as `source <(portcullis completion bash)`. With
    --json: `shell` and `script`.
    """
    script = _SCRIPTS[shell]
    print(json.dumps({"shell": shell, "script": script}) if as_json else script, end="")


def answers(words: Sequence[str], commands: Mapping[str, str]) -> list[tuple[str, str]]:
    """What the last of ``words`` may become, each with a word about it.

    ``commands`` are the names after ``portcullis``. What is not known is not completed.
    """
    *before, last = words or [""]
    name = next((word for word in before if not word.startswith("-")), None)
    if name is None:
        return _fitting(commands.items(), last)
    if name not in commands:
        return []
    node = _taken(name)
    waiting: dict[str, Any] | None = None
    for word in before[before.index(name) + 1 :]:
        if waiting is not None:
            waiting = None
        elif word.startswith("-"):
            option = _option(node, word)
            waiting = option if option and option["takes"] else None
        elif word in node["commands"]:
            node = node["commands"][word]
    if waiting is not None:
        return _fitting(_values(waiting, before), last)
    if last.startswith("-"):
        found = ((name, one["about"]) for one in node["options"] for name in one["names"])
        return _fitting(found, last)
    if node["commands"]:
        return _fitting(((name, one["about"]) for name, one in node["commands"].items()), last)
    return _fitting((pair for one in node["arguments"] for pair in _values(one, before)), last)


def answer(words: Sequence[str], commands: Mapping[str, str]) -> None:
    """Print the answer to a shell; a fault completes nothing."""
    with contextlib.suppress(Exception):
        for word, about in answers(words, commands):
            print(f"{word}\t{about}")


def _fitting(found: Iterable[tuple[str, str]], last: str) -> list[tuple[str, str]]:
    """Those that go on from there, in characters that no shell acts on, each in one line."""
    fits = ((word, about) for word, about in found if word.startswith(last))
    safe = set("-_.@:/+")
    return [
        (word, " ".join("".join(c if c.isprintable() else " " for c in about).split()))
        for word, about in fits
        if word.isascii() and all(c.isalnum() or c in safe for c in word)
    ]


def _option(node: Mapping[str, Any], word: str) -> dict[str, Any] | None:
    return next((one for one in node["options"] if word in one["names"]), None)


def _values(one: Mapping[str, Any], before: Sequence[str]) -> Iterable[tuple[str, str]]:
    """What an option or an argument may be."""
    name = one["name"]
    if one["values"] or name in _WORDS:
        return [(value, "") for value in one["values"] or _WORDS[name]]
    if name == "code":
        from portcullis.core.codes import CODES  # noqa: PLC0415 - only for this

        return [(code, entry.title) for code, entry in CODES.items()]
    if name == "approval":
        return _rows(before, "SELECT id, agent FROM approvals WHERE state = 'pending'")
    kind = before[0] if name == "name" else name
    if kind in {"agent", "application", "operator"}:
        query = "SELECT id, kind FROM principals WHERE kind = ? ORDER BY id"
        return _rows(before, query, kind)
    return []


def _rows(before: Sequence[str], query: str, *values: str) -> list[tuple[str, str]]:
    """What the database holds, which is only read; nothing where it cannot be."""
    place = _state(before) / "portcullis.db"  # names in a server's database are not completed
    if not place.is_file():
        return []
    until = time.monotonic() + _SECONDS
    at = f"{place.as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(at, timeout=_SECONDS, uri=True)) as database:
        database.set_progress_handler(lambda: time.monotonic() > until, 1000)
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
        database.execute("PRAGMA query_only = ON")
        return list(database.execute(f"{query} LIMIT {_MOST}", values))


def _state(before: Sequence[str]) -> Path:
    """The state directory of the configuration that the words name, or of the usual one."""
    import yaml  # noqa: PLC0415 - the configuration's own reading takes longer than one may wait

    given = [after for word, after in itertools.pairwise(before) if word in _CONFIG]
    file = Path(given[-1] if given else "portcullis.yaml").expanduser().resolve()
    if not file.is_file() or file.stat().st_size > _LONGEST:
        raise ValueError(file)
    root = yaml.compose(file.read_bytes(), Loader=yaml.SafeLoader)  # aliases and merges stay that
    pairs = root.value if isinstance(root, yaml.MappingNode) else ()
    states = (value.value for key, value in pairs if key.value == "state")
    return file.parent / str(next(states, "portcullis-state"))


def _taken(command: str) -> dict[str, Any]:
    """What a command takes, from the cache or from its module."""
    place = _cache(command)
    if place is not None:
        with contextlib.suppress(OSError, ValueError):
            kept: dict[str, Any] = json.loads(place.read_bytes())
            return kept
    from portcullis import cli  # noqa: PLC0415 - it asked
    from portcullis.cli.tree import described  # noqa: PLC0415 - slow

    found = described(cli.command(command))
    if place is not None:
        with contextlib.suppress(OSError):
            new = place.with_name(f"{place.name}.{os.getpid()}")
            new.write_text(json.dumps(found), "utf-8")
            new.replace(place)
            for old in place.parent.glob(f"complete-{command}-*.json"):
                if old != place:
                    old.unlink(missing_ok=True)
    return found


def _cache(command: str) -> Path | None:
    """Where it is kept for these very modules; None without a cache folder that is ours alone."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        home = Path(base) if base.startswith("/") else Path("~/.cache").expanduser()
        folder = home / "portcullis"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        newest = max(path.stat().st_mtime_ns for path in Path(__file__).parent.glob("*.py"))
    except (OSError, RuntimeError):
        return None
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        return None
    return folder / f"complete-{command}-{newest:x}.json"
