"""The mapping from frameworks to evidence: data files, read strictly.

A row names a control of a framework, what of it evidence can show in our own words, which signals
and settings are evidence, which conditions are gaps, and which controls of the register act for
it. A row with ``missing`` names what does not exist yet; it is never evidenced.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Annotated, Final, Literal, get_args

import msgspec

from portcullis.config.evidence import FrameworkName
from portcullis.config.yaml import compose, construct
from portcullis.core.control import Register
from portcullis.review.conditions import CONDITIONS
from portcullis.review.deployment import Deployment
from portcullis.review.signals import SIGNALS

FRAMEWORKS: Final[tuple[str, ...]] = get_args(FrameworkName)
_REGISTER_NAMES: Final = {"fedramp-moderate": "nist-800-53"}
"""Where the register of controls knows a framework by another name."""

Words = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One control of a framework, and what its evidence is."""

    control: Words
    title: Words
    evidence: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    missing: str = ""
    baselines: tuple[Literal["moderate"], ...] = ()


class Selection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rows of another framework that belong to a baseline."""

    framework: str
    baseline: str


class Framework(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A framework, or those of its controls that a gate's records can speak to."""

    framework: str
    title: Words
    rows: tuple[Row, ...] = ()
    selects: Selection | None = None


@cache
def framework(name: str) -> Framework:
    """One of ``FRAMEWORKS``, its selection carried out and the register's controls joined.

    KeyError for another name, and for a row that names what does not exist.
    """
    if name not in FRAMEWORKS:
        raise KeyError(name)
    text = _read(f"review/controls/{name}.yaml")
    found = msgspec.convert(construct(compose(text)), Framework)
    rows = found.rows
    if found.selects is not None:
        other = framework(found.selects.framework)
        rows += tuple(row for row in other.rows if found.selects.baseline in row.baselines)
    known = {control.id: control.frameworks for control in register().controls}
    registered = _REGISTER_NAMES.get(name, name)
    joined = []
    for row in rows:
        _check(row, known.keys())
        acting = {i for i, ids in known.items() if row.control in ids.get(registered, ())}
        controls = tuple(i for i in known if i in acting | set(row.controls))
        joined.append(msgspec.structs.replace(row, controls=controls))
    return msgspec.structs.replace(found, rows=tuple(joined), selects=None)


def concerned(condition: str, frameworks: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The controls, by framework, for which a condition is a gap."""
    found = {
        name: tuple(row.control for row in framework(name).rows if condition in row.gaps)
        for name in frameworks
    }
    return {name: controls for name, controls in found.items() if controls}


@cache
def register() -> Register:
    """The register of controls."""
    return msgspec.convert(construct(compose(_read("controls.yaml"))), Register)


def _read(path: str) -> str:
    return resources.files("portcullis").joinpath(path).read_text(encoding="utf-8")


def _check(row: Row, controls: object) -> None:
    settings = Deployment.__struct_fields__
    for named, known in (
        (row.evidence, SIGNALS),
        (row.gaps, CONDITIONS),
        (row.settings, settings),
        (row.controls, controls),
    ):
        unknown = [name for name in named if name not in known]  # type: ignore[operator]
        if unknown:
            raise KeyError(f"{row.control} names {', '.join(unknown)}")
    if not (row.evidence or row.settings or row.missing):
        raise KeyError(f"{row.control} names no evidence")
