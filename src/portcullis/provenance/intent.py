"""Whether the user's words ask for what a tool does. It only tightens: words prove little."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from importlib import resources
from typing import Final

from portcullis.config.yaml import shipped
from portcullis.core.containment import ToolModel
from portcullis.provenance.stems import stem
from portcullis.provenance.words import Words

_PIECES: Final = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")


def _lexicon() -> Mapping[str, frozenset[str]]:
    """From each stem of tools' names to the stems of what users say for it."""
    text = resources.files("portcullis.provenance").joinpath("intents.yaml").read_text("utf-8")
    found: dict[str, frozenset[str]] = {}
    for group in shipped(text).values():
        said = frozenset(map(stem, group["words"]))
        for word in map(stem, group["tools"]):
            found[word] = found.get(word, frozenset()) | said
    return found


_LEXICON: Final = _lexicon()


def wanted(model: ToolModel) -> frozenset[str]:
    """The stems of which the user says one to ask for this tool."""
    if model.intent:
        return frozenset(stem(word.lower()) for word in model.intent)
    name = model.tool.partition(".")[2] or model.tool
    pieces = [stem(piece.lower()) for piece in _PIECES.findall(name)]
    known: Collection[frozenset[str]] = [_LEXICON[piece] for piece in pieces if piece in _LEXICON]
    return frozenset().union(*known) if known else frozenset(pieces)


def asked(model: ToolModel, words: Words) -> bool:
    """Whether the user used any of them."""
    return not wanted(model).isdisjoint(words.stems)
