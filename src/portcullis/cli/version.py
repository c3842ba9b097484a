"""``portcullis version``."""

from __future__ import annotations

import json

from portcullis import __version__
from portcullis.cli.options import Json


def version(*, as_json: Json = False) -> None:
    """Print the version."""
    print(json.dumps({"version": __version__}) if as_json else __version__)
