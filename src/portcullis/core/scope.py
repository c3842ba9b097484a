"""What a token is narrowed to: a list of words, each naming what may still be used.

    model:gpt-5.2            this model
    tool:orders.search       this tool of this server
    tool:orders.*            every tool of this server
    resource:files.file:///  this resource (by its exact name)
    prompt:orders.greeting   this prompt
    egress:api.example.com:443  this host at this port, and its address

A scope only ever narrows: policy is asked all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from portcullis.core.errors import Problem

MAX_WORDS: Final = 64
MAX_WORD: Final = 256
_SERVER: Final = r"[a-z0-9][a-z0-9_-]{0,62}"
_WORD: Final = re.compile(
    rf"model:[!-~]+|(?:tool|resource|prompt):{_SERVER}\.[!-~]+|egress:[a-z0-9_.-]+:[0-9]{{1,5}}"
)
_UNNAMED: Final = frozenset({"model", "egress"})
"""What is on no server."""


def parse(text: str) -> tuple[str, ...]:
    """The words of an OAuth scope (RFC 6749 section 3.3), sorted, each once.

    Raises Problem PC2050 for a word that is not of our form, or too many.
    """
    words = sorted(set(text.split(" ")))
    if len(words) > MAX_WORDS or any(
        len(word) > MAX_WORD or not _WORD.fullmatch(word) or '"' in word for word in words
    ):
        raise Problem("PC2050", "scope is at most 64 of model:NAME, tool:SERVER.NAME and the like")
    return tuple(words)


def covers(scope: Iterable[str], kind: str, server: str, name: str) -> bool:
    """Whether a scope holds a model or host (``server`` is empty), tool, resource or prompt."""
    if kind == "egress" and ":" not in name:  # its address is asked for, to connect to it
        return any(word.startswith(f"egress:{name}:") for word in scope)
    if kind in _UNNAMED:
        return f"{kind}:{name}" in scope
    return f"{kind}:{server}.{name}" in scope or (kind == "tool" and f"tool:{server}.*" in scope)


def narrowed(
    scope: tuple[str, ...] | None, wanted: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    """What is asked for within what is held. Raises Problem PC2050 when it is not within it."""
    if wanted is None:
        return scope
    if scope is not None:
        for word in wanted:
            kind, _, rest = word.partition(":")
            server, _, name = rest.partition(".")
            if kind in _UNNAMED:
                server, name = "", rest
            if not covers(scope, kind, server, name):
                raise Problem("PC2050", "the scope is wider than that of the token shown")
    return wanted
