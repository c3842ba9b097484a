"""``portcullis policy schema``: the JSON Schema of policy files, for editors."""

from __future__ import annotations

import sys

import msgspec

from portcullis.cli.options import Json
from portcullis.policy.schema import policy_schema


def schema(*, as_json: Json = False) -> None:
    """Print the JSON Schema (draft 2020-12) of policy files.

    An editor that reads it completes keys and shows what does not fit as it is typed. With --json
    it is one line.
    """
    text = msgspec.json.encode(policy_schema())
    sys.stdout.write((text if as_json else msgspec.json.format(text, indent=2)).decode() + "\n")
