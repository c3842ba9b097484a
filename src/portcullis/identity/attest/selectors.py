"""Selectors: what is known about a workload, as in SPIRE, and which entries they fulfil.

unix:uid:1000            effective user id
unix:gid:1000            effective or supplementary group id
unix:path:/usr/bin/shop  the executable
unix:sha256:HEX          SHA-256 of the executable
unix:cgroup:/shop.slice  cgroup path
k8s:ns:shop              whatever a Kubernetes service account says of itself
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from portcullis.core.errors import Problem
from portcullis.core.ports import Entry

MAX_SELECTORS: Final = 32
MAX_SELECTOR: Final = 4200
"""Longest selector in characters: a path has at most 4096."""

SHA256: Final = "unix:sha256:"
_FORM: Final = re.compile(
    r"unix:[ug]id:(?:0|[1-9][0-9]{0,9})"
    r"|unix:sha256:[0-9a-f]{64}"
    r"|unix:(?:path|cgroup):/[^\x00-\x1f\x7f]*"
    r"|k8s:[a-z][a-z-]{0,31}:[!-~]+"
)


def checked(selectors: Iterable[str]) -> tuple[str, ...]:
    """Selectors for a registration entry: sorted, each once.

    Raises Problem PC1020 when there is none, there are too many, or one has no known form (which
    no workload could ever fulfil).
    """
    found = sorted(set(selectors))
    if not 1 <= len(found) <= MAX_SELECTORS:
        raise Problem("PC1020", "selectors: give 1 to 32, such as unix:uid:1000")
    for selector in found:
        if len(selector) > MAX_SELECTOR or not _FORM.fullmatch(selector):
            raise Problem("PC1020", "selectors: expected unix:uid|gid|path|sha256|cgroup or k8s")
    return tuple(found)


def matching(entries: Iterable[Entry], selectors: frozenset[str]) -> tuple[Entry, ...]:
    """The entries all of whose selectors are there. One without any matches nobody."""
    return tuple(
        entry for entry in entries if entry.selectors and selectors.issuperset(entry.selectors)
    )


def awaits_hash(entries: Iterable[Entry], selectors: frozenset[str]) -> bool:
    """Whether some entry could be fulfilled once the executable's hash is known."""
    return any(
        any(selector.startswith(SHA256) for selector in entry.selectors)
        and all(s.startswith(SHA256) or s in selectors for s in entry.selectors)
        for entry in entries
    )
