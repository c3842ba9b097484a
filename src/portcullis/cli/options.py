"""Options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help="The configuration file.", show_default=True)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]

DEFAULT_CONFIG = Path("portcullis.yaml")
