"""What a source found, made a secret that can be sent."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any, Final

from portcullis.core.errors import Problem
from portcullis.core.secret import Secret

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def secret_of(reference: str, value: str) -> Secret:
    """The secret without surrounding white space.

    Problem PC5007 when it is empty or holds a control character: it could not stand in a header
    or an environment. The detail names ``reference`` and never the value.
    """
    value = value.strip()
    if not value:
        raise Problem("PC5007", f"{reference} is empty")
    if _CONTROL.search(value):
        raise Problem("PC5007", f"{reference} holds a control character")
    return Secret(value)


def sendable(place: str, members: Mapping[str, Any]) -> dict[str, Secret]:
    """The texts of a document that can be sent; the others are not there for anybody."""
    found: dict[str, Secret] = {}
    for name, value in members.items():
        with contextlib.suppress(Problem):
            if isinstance(value, str):
                found[name] = secret_of(f"{place}#{name}", value)
    return found
