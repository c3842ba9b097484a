"""What of this machine a command's box has in it: worked out from the command, and said in full.

The adapters put ``/usr`` and what belongs to it into every box, read-only. Beside that there is
what the program stands on (``interpreter``), its working directory, and what the configuration
mounts. Nothing else is added: what a command needs besides has to be mounted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from portcullis.config.boxed import mount
from portcullis.core.sandbox import Mount, Order, Profile
from portcullis.execution.interpreter import program

HOME: Final = "/scratch"
_THERE: Final = tuple(
    map(Path, ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/dev", "/proc"))
)
"""What is in a box anyway."""
_ITS_OWN: Final = frozenset({"/", "/tmp", "/scratch"})  # noqa: S108 - the box's
"""In every box too, but with nothing of ours in it."""
_LANGUAGE: Final = "LANG"


class Inside(NamedTuple):
    """What runs, as the box finds it: its words, its PATH, and what is mounted for it."""

    argv: tuple[str, ...]
    path: str
    mounts: tuple[Mount, ...]


def inside(
    command: Sequence[str], *, path: str, cwd: Path | None = None, mounts: Iterable[str] = ()
) -> Inside:
    """Find the program on ``path`` and what it needs; ``mounts`` are the configuration's.

    A program that is not found stays as it is named: starting it then fails. Blocks.
    """
    given = [mount(text) for text in mounts]
    argv0 = command[0]
    if cwd is not None and "/" in argv0:
        argv0 = str(cwd / argv0)
    found = program(argv0, path)
    # Parents before what they hold, so that a mount within another is not covered by it.
    made = {one.target: one for one in (*found.mounts, *_working(cwd, given), *given)}
    ordered = sorted(made.values(), key=lambda one: len(Path(one.target).parts))
    return Inside((found.argv0, *command[1:]), found.path, tuple(ordered))


def order(
    title: str,
    what: Inside,
    *,
    profile: Profile,
    environ: Mapping[str, str],
    cwd: Path | None = None,
) -> Order:
    """The order of a box for ``what``. It has a PATH and a HOME of the box, not ours."""
    return Order(
        title=title,
        argv=what.argv,
        profile=profile,
        environ={"PATH": what.path, "HOME": HOME} | dict(environ),
        mounts=what.mounts,
        cwd=HOME if cwd is None else str(cwd),
    )


def language(environ: Mapping[str, str]) -> dict[str, str]:
    """What of our environment a box has too."""
    return {_LANGUAGE: environ[_LANGUAGE]} if _LANGUAGE in environ else {}


def absent(what: Inside) -> tuple[str, ...]:
    """The words of a command that name a file or folder here that is not in its box."""
    seen = (*_THERE, *(Path(one.target) for one in what.mounts))
    return tuple(
        word
        for word in what.argv[1:]
        if word.startswith("/")
        and word.rstrip("/") not in _ITS_OWN
        and not any(Path(word).is_relative_to(place) for place in seen)
        and _exists(Path(word))
    )


def _working(cwd: Path | None, given: Sequence[Mount]) -> list[Mount]:
    """The working directory, read-only, unless a mount has it."""
    if cwd is None or any(cwd.is_relative_to(one.target) for one in given):
        return []
    return [Mount(source=cwd, target=str(cwd))]


def _exists(place: Path) -> bool:
    try:
        return place.exists()
    except OSError:
        return False
