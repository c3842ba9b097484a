"""What a command needs of ours in its box: the program itself, and the interpreter it stands on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final, NamedTuple

from portcullis.core.sandbox import Mount

SYSTEM: Final = "/usr/local/bin:/usr/bin:/bin"
"""PATH in a box; what lies there is in every box."""
_GIVEN: Final = (Path("/usr"), Path("/bin"), Path("/lib"), Path("/lib64"), Path("/sbin"))
_MARK: Final = "pyvenv.cfg"
_PARTS: Final = ("bin", "conf", "include", "lib", "lib64", "libexec", "ssl")
"""Folders of an installation without which its programs do not run; never what is beside them."""
_SETTINGS: Final = 65_536
"""Characters of a pyvenv.cfg that are read."""
_SHIMS: Final = "shims"
"""Folders of version switchers: what lies there finds a program by a home that no box has."""


class Program(NamedTuple):
    """``argv0`` and ``path`` (PATH) are the box's, ``mounts`` what has to be in it, read-only."""

    argv0: str
    path: str
    mounts: tuple[Mount, ...]


def program(argv0: str, path: str) -> Program:
    """The program that ``argv0`` names here, where ``path`` is our PATH.

    One in a virtual environment (PEP 405) comes with all of it, and with the folders of the
    installation of Python that it was made from. What cannot be found here is left for the box to
    say.
    """
    real = os.pathsep.join(one for one in path.split(os.pathsep) if Path(one).name != _SHIMS)
    found = shutil.which(argv0, path=real)
    if found is None:
        return Program(argv0, SYSTEM, ())
    place = Path(os.path.abspath(found))  # noqa: PTH100 - links stay: a venv's python is one
    if _given(place) and _given(place.resolve()):
        return Program(str(place) if "/" in argv0 else argv0, SYSTEM, ())
    needed = [*_own(place), *_below(place)]
    mounts = {one.target: one for one in needed if not _given(Path(one.target))}
    return Program(str(place), f"{place.parent}:{SYSTEM}", tuple(mounts.values()))


def _own(place: Path) -> list[Mount]:
    """What a program is in: its environment, the parts of its installation, or the file alone."""
    above = place.parent.parent
    if (above / _MARK).is_file():
        return [Mount(source=above, target=str(above))]
    if place.parent.name == "bin" and (above / "lib").is_dir():
        return _parts(above)
    return [Mount(source=place, target=str(place))]


def _parts(root: Path) -> list[Mount]:
    """The folders of an installation, and no others: an agent may have said where it is.

    What an agent can write, pyvenv.cfg and links among it, must not show it what it could not see.
    """
    real = root.resolve()
    if real == Path("/"):
        return []
    places = {root / name: (real / name).resolve() for name in _PARTS}
    return [
        Mount(source=source, target=str(target))
        for target, source in places.items()
        if source.is_dir() and source.is_relative_to(real)
    ]


def _below(place: Path) -> list[Mount]:
    """The installation below a virtual environment, and what a link leads to."""
    found: list[Mount] = []
    settings = place.parent.parent / _MARK
    if settings.is_file():
        with settings.open(encoding="utf-8", errors="replace") as lines:
            text = lines.read(_SETTINGS)
        for line in text.splitlines():
            key, _, value = line.partition("=")
            home = Path(value.strip())
            if key.strip() == "home" and home.is_absolute() and home.name == "bin":
                found += _parts(home.parent)
    real = place.resolve()
    return [*found, *_own(real)] if real != place else found


def _given(place: Path) -> bool:
    return any(place.is_relative_to(root) for root in _GIVEN)
