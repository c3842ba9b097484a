"""The linear model: a bias, weights of intents and phrases, and thresholds for each source.

``model.json`` is made by ``tools/train-injection`` (see docs/model-card.md). No weight is below 0:
nothing that is added to a text can lower its score.
"""

from __future__ import annotations

from importlib import resources
from typing import Annotated

import msgspec

from portcullis.core.errors import Problem
from portcullis.core.inspection import Source
from portcullis.inspection.injection.thresholds import Threshold

Weight = Annotated[float, msgspec.Meta(ge=0)]


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What training found. ``phrases`` are one to three words of folded text.

    ``floor`` is the sum of weights below which windows are not told apart. A score is a function of
    the sum alone, given the source.
    """

    intents: dict[str, Weight]
    phrases: dict[str, Weight]
    thresholds: dict[Source, Threshold]
    floor: Weight


def builtin() -> Model:
    """The model that is shipped."""
    return parse(resources.files(__package__).joinpath("model.json").read_bytes())


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
    return model
