"""The data file of threats, read strictly: what it names is there."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Annotated, Final, Literal

import msgspec

from portcullis.config.yaml import compose, construct
from portcullis.review.mapping import register
from portcullis.review.threats_acting import ACTING
from portcullis.review.threats_rating import Likelihood
from portcullis.review.threats_where import WHERE

STRIDE: Final = (
    *("spoofing", "tampering", "repudiation"),
    *("information disclosure", "denial of service", "elevation of privilege"),
)
_ID: Final = re.compile(r"AML\.T[0-9]{4}(\.[0-9]{3})?|ASI(0[1-9]|10)|LLM(0[1-9]|10):2025")

Words = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]


class Kind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of threat. ``controls`` maps a control, or a setting, to when it acts."""

    id: Words
    title: Words
    adversary: Words
    assets: tuple[Words, ...]
    where: Words
    stride: tuple[Words, ...]
    ids: tuple[Words, ...]
    impact: Literal["reached", "minor", "moderate", "major", "critical"]
    likelihood: Likelihood
    controls: dict[str, str]
    residual: str = ""
    fix: str = ""


class Kinds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of them. ``names`` has the short name of each id of ATLAS and OWASP.

    ``settings`` cover threats as controls do, but are none of the register's.
    """

    names: dict[str, Words]
    settings: dict[str, Words]
    adversaries: dict[str, Words]
    threats: tuple[Kind, ...]


@cache
def kinds() -> Kinds:
    """What ships. KeyError for one that names what does not exist."""
    text = resources.files("portcullis").joinpath("review/threats.yaml").read_text(encoding="utf-8")
    found = msgspec.convert(construct(compose(text)), Kinds)
    controls = {control.id for control in register().controls} | found.settings.keys()
    for one in found.threats:
        for named, known in (
            ((one.adversary,), found.adversaries),
            ((one.where,), WHERE),
            (one.stride, STRIDE),
            (one.ids, found.names),
            (one.controls, controls),
            (one.controls.values(), ACTING),
        ):
            if unknown := [name for name in named if name not in known]:
                raise KeyError(f"{one.id} names {', '.join(unknown)}")
        if not one.controls:
            raise KeyError(f"{one.id} names no control")
    if strange := [name for name in found.names if not _ID.fullmatch(name)]:
        raise KeyError(f"no ids: {', '.join(strange)}")
    return found
