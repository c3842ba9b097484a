"""What a client saw of one request."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

CODE = re.compile(r"PC\d{4}")


@dataclass
class Seen:
    """What a client saw. ``code`` is the gate's, empty when the gate passed the answer on.

    ``failed`` says that the client raised; ``pieces`` are what came before the end; ``headers``
    are the answer's.
    """

    code: str = ""
    text: str = ""
    failed: bool = False
    pieces: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.failed and not self.code


def code_in(text: object) -> str:
    found = CODE.search(str(text))
    return found[0] if found else ""
