"""The threat model of a deployment: what can go wrong in it, and what of that is covered.

It is drawn from the configuration and the policy, and names nothing that is not theirs. A control
that is switched off covers nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec

from portcullis.review.mapping import register
from portcullis.review.threats_acting import ACTING
from portcullis.review.threats_data import Kind, kinds
from portcullis.review.threats_map import Zone, zones
from portcullis.review.threats_proofs import Proof, Record, Run, proofs, run_of
from portcullis.review.threats_rating import (
    COVERAGES,
    LEVELS,
    Coverage,
    Impact,
    Level,
    Likelihood,
    after,
    before,
    level,
    reached,
)
from portcullis.review.threats_scene import Scene
from portcullis.review.threats_where import WHERE, Subject

FORMAT: Final = "portcullis.threats/1"
_NO_CELLS: Final = Proof(cells=0, proven=0, tests=())


class Cover(msgspec.Struct, frozen=True, kw_only=True):
    """A control that is there for a threat. ``off`` is why it does not act here, empty if it does.

    ``cells`` of it are to be proven by tests, ``proven`` were by the last run that is known, by
    ``tests``. A setting, which is no control of the register, has none.
    """

    control: str
    title: str
    off: str
    cells: int
    proven: int
    tests: tuple[str, ...]


class Threat(msgspec.Struct, frozen=True, kw_only=True):
    """One threat to one subject.

    ``inherent`` is its level before any control, ``level`` what is left with those that act.
    """

    id: str
    title: str
    about: str
    says: str
    adversary: str
    assets: tuple[str, ...]
    stride: tuple[str, ...]
    ids: tuple[str, ...]
    impact: Impact
    likelihood: Likelihood
    inherent: Level
    coverage: Coverage
    level: Level
    controls: tuple[Cover, ...]
    residual: str = ""
    fix: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What is the same threat in another model of the same deployment."""
        return self.id, self.about


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment's threat model. Threats stand in the order in which to look at them.

    ``made`` is ISO 8601, ``proven`` when the tests ran that are named, empty when that is not
    known, ``run`` which run of them it was. ``limits`` are what the gate as such does not protect
    from.
    """

    format: str = FORMAT
    trust_domain: str
    environment: str
    made: str
    proven: str
    adversaries: dict[str, str]
    assets: dict[str, tuple[str, ...]]
    boundaries: tuple[Zone, ...]
    threats: tuple[Threat, ...]
    names: dict[str, str]
    limits: tuple[str, ...]
    run: Run | None = None

    def counts(self) -> dict[str, int]:
        """How many threats there are of each coverage."""
        found = Counter(one.coverage for one in self.threats)
        return {each.value: found[each] for each in Coverage}


def threat_model(scene: Scene, record: Record | None = None) -> Model:
    """The threat model of a deployment as it is configured now."""
    known, proven = kinds(), proofs(record)
    found = sorted(
        (threat for kind in known.threats for threat in _threats(scene, kind, proven)), key=_order
    )
    assets: dict[str, set[str]] = {}
    for one in found:
        for asset in one.assets:
            assets.setdefault(asset, set()).add(one.about)
    used = {name for one in found for name in one.ids}
    return Model(
        trust_domain=scene.config.trust_domain,
        environment=scene.config.environment,
        made=datetime.fromtimestamp(scene.now, UTC).isoformat(timespec="seconds"),
        proven=record.made if record else "",
        adversaries={
            name: said
            for name, said in known.adversaries.items()
            if any(one.adversary == name for one in found)
        },
        assets={asset: tuple(sorted(about)) for asset, about in sorted(assets.items())},
        boundaries=zones(scene),
        threats=tuple(found),
        names={name: said for name, said in known.names.items() if name in used},
        limits=register().limits,
        run=run_of(record, scene.now) if record else None,
    )


def _order(one: Threat) -> tuple[int, int, str, str]:
    return COVERAGES[one.coverage], -LEVELS[one.level], one.id, one.about


def _threats(scene: Scene, kind: Kind, proven: dict[str, Proof]) -> Iterator[Threat]:
    for subject in WHERE[kind.where](scene):
        controls = tuple(_cover(scene, kind, subject, proven))
        coverage = _coverage(controls)
        impact = (
            reached(scene, subject, kind.stride)
            if kind.impact == "reached"
            else Impact(kind.impact)
        )
        likelihood = before(kind.likelihood, subject)
        yield Threat(
            id=kind.id,
            title=kind.title,
            about=subject.about,
            says=subject.says,
            adversary=kind.adversary,
            assets=kind.assets,
            stride=kind.stride,
            ids=kind.ids,
            impact=impact,
            likelihood=likelihood,
            inherent=level(impact, likelihood),
            coverage=coverage,
            level=level(impact, after(likelihood, coverage)),
            controls=controls,
            residual=kind.residual,
            fix="" if coverage is Coverage.COVERED else kind.fix,
        )


def _cover(scene: Scene, kind: Kind, subject: Subject, proven: dict[str, Proof]) -> Iterator[Cover]:
    titles = kinds().settings | {control.id: control.title for control in register().controls}
    for control, when in kind.controls.items():
        proof = proven.get(control, _NO_CELLS)
        yield Cover(
            control=control,
            title=titles[control],
            off=ACTING[when](scene, subject),
            cells=proof.cells,
            proven=proof.proven,
            tests=proof.tests,
        )


def _coverage(controls: tuple[Cover, ...]) -> Coverage:
    acting = sum(not one.off for one in controls)
    if not acting:
        return Coverage.UNCOVERED
    return Coverage.COVERED if acting == len(controls) else Coverage.PARTLY
