"""``portcullis init``: a commented configuration and a policy folder to start from."""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from portcullis.cli.options import Json
from portcullis.core.errors import Problem

_FILES = ("portcullis.yaml", "policy/main.yaml")


def init(
    directory: Annotated[Path, typer.Argument(help="Where to write.")] = Path(),
    *,
    as_json: Json = False,
) -> None:
    """Write portcullis.yaml and policy/main.yaml; never overwrite a file."""
    source = resources.files("portcullis.cli").joinpath("templates")
    existing = [name for name in _FILES if (directory / name).exists()]
    if existing:
        raise Problem(
            "PC7004", f"{existing[0]} exists already in {directory}", hint="Choose another folder."
        )
    for name in _FILES:
        target = directory / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source.joinpath(name).read_text(encoding="utf-8"), encoding="utf-8")
        except OSError as error:
            detail = f"cannot write {target}: {error.strerror}"
            raise Problem("PC7004", detail, hint="Choose another folder.") from None
        if not as_json:
            print(target)
    if as_json:
        print(json.dumps({"written": [str(directory / name) for name in _FILES]}))
    sys.stderr.write("Next: name your upstreams in portcullis.yaml, then `portcullis doctor`.\n")
