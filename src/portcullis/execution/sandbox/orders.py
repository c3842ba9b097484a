"""What an order must be before anything is made of it."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.sandbox import Ability, Hold, Mount, Order

_OURS: Final = ("/proc", "/dev", "/sys")
_BELOW: Final = ("/usr", "/tmp", "/scratch", "/etc")  # noqa: S108 - places in the box
"""Directories of the box that a mount must not hide, though it may lie below them."""
_COUNTED: Final = frozenset({Hold.MEMORY, Hold.CPU, Hold.PIDS})
DELEGATE: Final = (
    "Control groups are missing: run it as root, or where they are delegated to you (`systemd-run"
    " --user --scope -p Delegate=yes -- portcullis ...`), or name a profile that waives them."
)
"""What to do where nothing but control groups is missing (``delegated``)."""
_ARGUMENT: Final = 128 * 1024 - 1
"""Bytes of one argument or variable (Linux: MAX_ARG_STRLEN)."""


def checked(order: Order, ability: Ability) -> Order:
    """The order with the sources of its mounts resolved: no link is left in them.

    Problem PC5030 where the profile cannot be had, PC5032 where the order cannot be.
    """
    missing = sorted(order.profile.demands - ability.enforces)
    if missing:
        why = {ability.lacking.get(one, "it does not do that") for one in missing}
        raise Problem(
            "PC5030",
            f"{ability.adapter} does not enforce {', '.join(missing)} here, which the profile"
            f" {order.profile.name} demands: {'; '.join(sorted(why))}",
            hint=DELEGATE if delegated(missing) else None,
        )
    if not order.argv or not order.argv[0]:
        raise Problem("PC5032", "there is no command to run")
    for text in (*order.argv, *order.environ, *order.environ.values()):
        if "\0" in text or len(os.fsencode(text)) > _ARGUMENT:
            raise Problem("PC5032", "an argument or a variable has a NUL character or is too long")
    for name in order.environ:
        if not name or "=" in name:
            raise Problem("PC5032", "a variable has no proper name")
    _absolute(order.cwd, "the working directory")
    for mount in order.mounts:
        path = _absolute(mount.target, "a mount's target")
        inside = any(path.is_relative_to(one) for one in _OURS)
        if inside or mount.target in _BELOW or path == PurePosixPath("/"):
            raise Problem("PC5032", f"nothing can be mounted at {mount.target}")
    mounts = tuple(_resolved(mount, order.mounts) for mount in order.mounts)
    return msgspec.structs.replace(order, mounts=mounts)


def _resolved(mount: Mount, among: Collection[Mount]) -> Mount:
    """With the place that its source leads to.

    What lies in a mount that a box may write can be made a link by the box before: it must not
    lead out of there.
    """
    try:
        place = mount.source.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or "its links go in circles"
        raise Problem("PC5032", f"the mount for {mount.target} is not there: {why}") from None
    if place == Path("/"):
        raise Problem("PC5032", "the whole file system is no mount")
    for other in among:
        below = mount.source.is_relative_to(other.source)
        if other.writable and below and not place.is_relative_to(other.source.resolve()):
            raise Problem("PC5032", f"{mount.target} leads out of what a box may write")
    return msgspec.structs.replace(mount, source=place)


def delegated(missing: Collection[Hold]) -> bool:
    """Whether control groups are all that is missing."""
    return _COUNTED.issuperset(missing)


def _absolute(path: str, what: str) -> PurePosixPath:
    pure = PurePosixPath(path)
    if path.startswith("//") or not pure.is_absolute():
        plain = False
    else:
        plain = ".." not in pure.parts and str(pure) == path
    if not plain:
        raise Problem("PC5032", f"{what} is not a plain absolute path")
    return pure
