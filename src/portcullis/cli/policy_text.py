"""What a command means by the name of a policy: a folder, or a release by its number."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from portcullis.cli.options import load
from portcullis.policy.source import SourceFile, read

Against: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="RELEASE|FOLDER",
        help="Hold it against another policy: a release's number, or a folder.",
    ),
]


def named(name: str, config: Path) -> tuple[SourceFile, ...]:
    """A folder's files or, for a number that is no folder, a release's. Raises Problem."""
    if not name.isdecimal() or Path(name).exists():
        return read(Path(name))
    from portcullis.cli.operate import operations  # noqa: PLC0415 - slow

    with operations(load(config)) as work:
        found = work.releases.files(int(name)).files
    return tuple(SourceFile(one.name, one.text) for one in found)
