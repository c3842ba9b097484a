"""The model: weights of intents, heads that weigh grams, and thresholds for each source.

``model.json``, ``lexicon.yaml`` and a table of grams for each head: ``tools/train-injection`` makes
all but the lexicon (see docs/model-card.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Annotated

import msgspec

from portcullis.config.yaml import shipped
from portcullis.core.errors import Problem
from portcullis.core.inspection import Source
from portcullis.inspection.injection.grams import Grams
from portcullis.inspection.injection.thresholds import Threshold

Weight = Annotated[float, msgspec.Meta(ge=0)]
Classes = Mapping[str, tuple[str, ...]]


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What training found.

    ``intents`` and ``biases`` are those of each head. No weight of an intent is below 0: what is
    added to a text never lowers what its rules say. ``floor`` is the sum of weights below which
    windows are not told apart. A score is a function of the sum alone, given the source.
    """

    intents: dict[str, dict[str, Weight]]
    biases: dict[str, float]
    thresholds: dict[Source, Threshold]
    floor: Weight


def builtin() -> Model:
    """The model that is shipped."""
    return parse(_read("model.json").encode())


def parse(data: bytes) -> Model:
    """Read a model; Problem PC7014 when it is not one."""
    try:
        model = msgspec.json.decode(data, type=Model)
    except msgspec.DecodeError as error:
        raise Problem("PC7014", f"the injection model: {error}") from error
    missing = set(Source) - model.thresholds.keys()
    if missing:
        raise Problem("PC7014", f"the injection model has no thresholds for {sorted(missing)}")
    if any(limit.suspect <= model.floor for limit in model.thresholds.values()):
        raise Problem("PC7014", "the injection model's floor is above a threshold")
    known = model.biases.keys() & model.intents.keys()
    unknown = {limit.head for limit in model.thresholds.values()} - known
    if unknown:
        raise Problem("PC7014", f"the injection model has no heads {sorted(unknown)}")
    return model


def heads(model: Model) -> dict[str, Grams]:
    """The heads that are shipped, by name."""
    classes = lexicon()
    return {
        name: Grams(classes, weights(_read(f"{name}.tsv")), bias)
        for name, bias in model.biases.items()
    }


def lexicon() -> Classes:
    """The words of each class, in all languages."""
    document: dict[str, dict[str, str]] = shipped(_read("lexicon.yaml"))
    return {
        name: tuple(word for words in languages.values() for word in words.split())
        for name, languages in document.items()
    }


def weights(table: str) -> dict[str, float]:
    """The lines of a table: hundredths, a tab, a gram."""
    hundredths, names = (table.replace("\n", "\t").split("\t")[at::2] for at in (0, 1))
    return {name: int(weight) / 100 for weight, name in zip(hundredths, names, strict=False)}


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
