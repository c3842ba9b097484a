"""Options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from portcullis.config import Config

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help="The configuration file.", show_default=True)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]

DEFAULT_CONFIG = Path("portcullis.yaml")


def load(path: Path) -> Config:
    """The configuration in a file; its module is imported when one is read, for that takes long."""
    from portcullis.config import load as read  # noqa: PLC0415 - said above

    return read(path)
