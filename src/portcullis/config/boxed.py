"""What the configuration says of a box: its profile by name, and what of ours is in it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, NamedTuple

from pydantic import AfterValidator, Field

from portcullis.config.common import NAME
from portcullis.core.errors import Problem
from portcullis.core.sandbox import Mount

NONE: Final = "none"
"""In place of a profile: no box. It has to be written out."""
STRICT: Final = "strict"

ProfileName = Annotated[str, Field(pattern=NAME)]
"""A profile of ``sandbox.profiles``, or ``strict``."""

_MODES: Final = {"ro": False, "rw": True}


def mount(text: str) -> Mount:
    """``DIR:ro`` or ``DIR:rw``: the directory or file is in the box where it is outside.

    Without a mode it is read-only. Raises ValueError for anything else; ``DIR`` is absolute.
    """
    place, colon, mode = text.rpartition(":")
    if not colon or "/" in mode:
        place, mode = text, "ro"
    source = Path(place)
    if mode not in _MODES or not source.is_absolute() or ".." in source.parts:
        msg = "expected DIR:ro or DIR:rw"
        raise ValueError(msg)
    if len(source.parts) == 1:
        msg = "the whole file system is no mount"
        raise ValueError(msg)
    return Mount(source=source, target=str(source), writable=_MODES[mode])


def uncovered(kept: Iterable[Path], cwd: Path | None, mounts: Iterable[str]) -> str | None:
    """The first of these places that would give a box one of ``kept``, or a part of it.

    What is kept opens all that is sealed, or something elsewhere: no box gets it, not to read
    either.
    """
    own = tuple(kept)
    for place in (*([cwd] if cwd is not None else []), *(mount(one).source for one in mounts)):
        if any(_overlap(one, place) for one in own):
            return str(place)
    return None


def rewritten(rules: Iterable[Path], mounts: Iterable[str]) -> str | None:
    """The first of these that would let a box write one of ``rules``: what the gate goes by."""
    own = tuple(rules)
    for one in map(mount, mounts):
        if one.writable and any(_overlap(rule, one.source) for rule in own):
            return str(one.source)
    return None


class Kept(NamedTuple):
    """What of the gate's own no box gets: ``secret`` not at all, ``rules`` not to write.

    ``shared`` is what some box may write: another's mount below it does not lead out of it.
    """

    secret: tuple[Path, ...] = ()
    rules: tuple[Path, ...] = ()
    shared: tuple[Path, ...] = ()

    def check(self, mounts: Iterable[Mount]) -> None:
        """Problem PC5032 for a mount with one of them in it, wherever links lead now."""
        for one in mounts:
            kept = (*self.secret, *(self.rules if one.writable else ()))
            if any(_overlap(place, one.source) for place in kept):
                raise Problem("PC5032", f"{one.target} would give the box what is the gate's own")
            place = one.source.resolve()
            for shared in self.shared:
                below = one.source.is_relative_to(shared)
                if below and not place.is_relative_to(shared.resolve()):
                    raise Problem("PC5032", f"{one.target} leads out of what a box may write")


def _overlap(kept: Path, place: Path) -> bool:
    kept, place = kept.resolve(), place.resolve()
    return kept.is_relative_to(place) or place.is_relative_to(kept)


def _mountable(text: str) -> str:
    mount(text)
    return text


MountText = Annotated[str, AfterValidator(_mountable)]
"""As ``mount`` reads it; in a file, a relative DIR is below the file's folder."""


def anchored(text: str, base: Path) -> str:
    """The text of a mount whose DIR, where it is relative, is below ``base``."""
    place, colon, mode = text.rpartition(":")
    if not colon or "/" in mode:
        place, mode = text, "ro"
    return f"{(base / place).resolve() if place in {'', '.'} else base / place}:{mode}"
