"""An inspector from what ships and what the configuration adds to it."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from portcullis.core.inspection import Category
from portcullis.inspection import dictionaries as phrases
from portcullis.inspection import ner, packs
from portcullis.inspection.injection import Classifier, Injection
from portcullis.inspection.inspector import Inspector
from portcullis.inspection.patterns import Patterns
from portcullis.inspection.reading import CanaryFinder
from portcullis.inspection.rules import Rule

_rules: Final = msgspec.msgpack.Decoder(tuple[Rule, ...]).decode


class Built(NamedTuple):
    """The detectors, each for itself too, and what they can find with its categories."""

    inspector: Inspector
    patterns: Patterns
    injection: Injection
    entities: Mapping[str, frozenset[Category]]


def own_cache() -> Path | None:
    """The user's cache folder (XDG Base Directory), when it is ours alone; else None."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        cache = Path(base) if base.startswith("/") else Path("~/.cache").expanduser()
        folder = cache / "portcullis"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.stat()
    except (OSError, RuntimeError):
        return None
    ours = status.st_uid == os.geteuid() and not status.st_mode & 0o022
    return folder if ours else None


@dataclass(frozen=True, slots=True)
class _Folder:
    """Where compiled databases are kept, which makes no difference to what they are."""

    path: Path | None = field(compare=False)


def build(
    extra: Sequence[Path] = (),
    without: Collection[str] = (),
    dictionaries: Mapping[str, Path] | None = None,
    *,
    cache: Path | None = None,
    canaries: CanaryFinder | None = None,
    onnx: Classifier | None = None,
) -> Built:
    """The detectors of the rule packs that ship and of ``extra``, minus the rules in ``without``.

    ``dictionaries`` maps an entity to a file of phrases. ``cache`` is a folder for compiled
    databases. ``onnx`` is a second injection detector. Recognisers come as entry points.
    Raises Problem PC7014 or PC7015 that names the file and the rule.
    """
    rules = rules_of(extra, without, dictionaries or {})
    patterns = _patterns(msgspec.msgpack.encode(rules), _Folder(cache))
    injection = (
        _injection(_Folder(cache)) if onnx is None else Injection(folder=cache, classifier=onnx)
    )
    entities: dict[str, frozenset[Category]] = {}
    for rule in rules:
        entities[rule.entity] = entities.get(rule.entity, frozenset()) | {rule.category}
    inspector = Inspector(patterns, injection, canaries, ner.installed())
    return Built(inspector, patterns, injection, entities)


def rules_of(
    extra: Sequence[Path], without: Collection[str], dictionaries: Mapping[str, Path]
) -> tuple[Rule, ...]:
    """What `build` compiles. Raises Problem PC7014 that names the file and the rule."""
    rules = packs.select((*packs.builtin(), *map(packs.load, extra)), without)
    categories = {rule.entity: rule.category for rule in rules}
    return rules + phrases.rules(dictionaries, categories)


@lru_cache(maxsize=4)
def _patterns(rules: bytes, folder: _Folder) -> Patterns:
    """Rules, compiled once in a process: they are frozen, and so are their patterns."""
    return Patterns(_rules(rules), cache=folder.path)


@lru_cache(maxsize=1)
def _injection(folder: _Folder) -> Injection:
    """The detector that ships, made once in a process."""
    return Injection(folder=folder.path)
