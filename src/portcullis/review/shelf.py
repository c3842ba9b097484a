"""The folder of a running gate's packages: what is in it, and what goes when it is too much."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

_TIME: Final = r"\d{8}T\d{6}\.\d{6}Z"
_GONE: Final = ".removed-"


def package_name(framework: str, at: datetime) -> str:
    """What a package of this framework and time (UTC) is called; names sort by time."""
    return f"{framework}-{at:%Y%m%dT%H%M%S.%fZ}"


def shelved(folder: Path, framework: str) -> list[str]:
    """The packages of a framework that are there. OSError when that cannot be told."""
    form = re.compile(f"{re.escape(framework)}-{_TIME}")
    if not folder.exists():
        return []
    return [
        one.name
        for one in folder.iterdir()
        if form.fullmatch(one.name) and one.is_dir() and not one.is_symlink()
    ]


def surplus(names: Iterable[str], keep: int) -> list[str]:
    """Which of a framework's packages go so that ``keep`` (at least 1) stay.

    First those that a later one of the same day stands for, then the days themselves, each time
    the oldest first: gaps that open and close all day take no other day's evidence away.
    """
    there = sorted(names)
    doubled = [one for one, after in pairwise(there) if _day(one) == _day(after)]
    single = sorted(set(there) - set(doubled))
    return [*doubled, *single][: max(0, len(there) - keep)]


def discard(folder: Path, name: str) -> None:
    """Remove a package: whole, or so that it cannot be taken for one. OSError."""
    for left in folder.glob(f"{_GONE}*"):
        shutil.rmtree(left)
    gone = (folder / name).rename(folder / f"{_GONE}{name}")
    shutil.rmtree(gone)


def _day(name: str) -> str:
    return name.rpartition("T")[0]
