"""An inspector from what ships and what the configuration adds to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from portcullis.inspection import dictionaries as phrases
from portcullis.inspection import ner, packs
from portcullis.inspection.injection import Injection, Second
from portcullis.inspection.inspector import CanaryFinder, Inspector
from portcullis.inspection.patterns import Patterns


def build(
    extra: Sequence[Path] = (),
    without: Collection[str] = (),
    dictionaries: Mapping[str, Path] | None = None,
    *,
    cache: Path | None = None,
    canaries: CanaryFinder | None = None,
    onnx: Second | None = None,
) -> Inspector:
    """The inspector of the rule packs that ship and of ``extra``, minus the rules in ``without``.

    ``dictionaries`` maps an entity to a file of phrases. ``cache`` is a folder for compiled
    databases. ``onnx`` is a second injection detector. Recognisers come as entry points.
    Raises Problem PC7014 or PC7015 that names the file and the rule.
    """
    rules = packs.select((*packs.builtin(), *map(packs.load, extra)), without)
    categories = {rule.entity: rule.category for rule in rules}
    rules += phrases.rules(dictionaries or {}, categories)
    return Inspector(
        Patterns(rules, cache=cache),
        Injection(cache=cache, second=onnx),
        canaries,
        ner.installed(),
    )
