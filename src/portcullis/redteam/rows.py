"""The table's rows: which enforcement point, and who is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from portcullis.core.call import RiskClass
from portcullis.core.containment import Containment, QuestionKind, Treatment
from portcullis.provenance import rules
from portcullis.redteam.catalogue import Catalogue
from portcullis.redteam.contained import Contained
from portcullis.redteam.enforcer import Enforcer, Task
from portcullis.redteam.replay import Human
from portcullis.redteam.simple import AllowList, AskByRisk, CoarseTaint, named_risk


@dataclass(frozen=True, slots=True)
class Row:
    """One row: ``key`` names its figures, ``make`` a new enforcer for one session.

    ``grant`` is None for what is not all of the gate, else whether the task declares its tools.
    ``patience`` and ``insists`` are as in ``replay``.
    """

    key: str
    title: str
    human: Human
    make: Callable[[Catalogue, Task], Enforcer]
    grant: bool | None = None
    patience: int = 0
    insists: int = 0


def _everything(treatment: Treatment) -> dict[QuestionKind, Mapping[RiskClass, Treatment]]:
    return {kind: dict.fromkeys(RiskClass, treatment) for kind in QuestionKind}


_DESTINATIONS: Final = Containment(
    treatments={
        **_everything(Treatment.ALLOW),
        QuestionKind.DESTINATION: dict.fromkeys(RiskClass, Treatment.HOLD),
    }
)


def _by_name(tool: str, arguments: dict[str, Any]) -> RiskClass:
    del arguments
    return named_risk(tool)


def _computed(catalogue: Catalogue, task: Task) -> Enforcer:
    del task

    def risk(tool: str, arguments: dict[str, Any]) -> RiskClass:
        return rules.risk(catalogue.models[tool], arguments)

    return AskByRisk(catalogue.tools, risk)


def _contained(catalogue: Catalogue, task: Task) -> Enforcer:
    return Contained(catalogue, task)


def _granted(catalogue: Catalogue, task: Task) -> Enforcer:
    return Contained(catalogue, task, granted=True)


ROWS: Final = (
    Row("allow_all", "allow all", Human.NONE, lambda _c, _t: AllowList()),
    Row("role", "role allow-list", Human.NONE, lambda c, _t: AllowList(c.tools)),
    Row(
        "name_risk",
        "risk by tool name: delete, external ask",
        Human.IDEAL,
        lambda c, _t: AskByRisk(c.tools, _by_name),
    ),
    Row("computed_risk", "risk computed from arguments", Human.IDEAL, _computed),
    Row(
        "coarse_taint",
        "coarse taint",
        Human.IDEAL,
        lambda c, _t: CoarseTaint(c.tools, _by_name),
    ),
    Row("task_list", "per-task allow-list", Human.NONE, lambda _c, t: AllowList(t.declared)),
    Row(
        "destinations",
        "provenance of destinations only",
        Human.IDEAL,
        lambda c, t: Contained(c, t, containment=_DESTINATIONS),
    ),
    Row("contained_ideal", "the gate", Human.IDEAL, _contained, grant=False),
    Row("contained_none", "the gate", Human.NONE, _contained, grant=False),
    Row("contained_stamp", "the gate", Human.STAMP, _contained, grant=False),
    Row("granted_ideal", "the gate + grant", Human.IDEAL, _granted, grant=True),
    Row("granted_none", "the gate + grant", Human.NONE, _granted, grant=True),
    Row("granted_stamp", "the gate + grant", Human.STAMP, _granted, grant=True),
)

_INSISTS: Final = 8
_TIMES: Final = range(1, 6)


def _freezing(refusals: int) -> Callable[[Catalogue, Task], Enforcer]:
    return lambda catalogue, task: Contained(catalogue, task, refusals=refusals)


FATIGUE: Final = (
    *(
        Row(
            f"tired_{n}",
            "the gate",
            Human.TIRED,
            _contained,
            patience=n,
            insists=_INSISTS,
        )
        for n in _TIMES
    ),
    *(
        Row(f"frozen_{n}", f"the gate, refusals: {n}", Human.IDEAL, _freezing(n), insists=_INSISTS)
        for n in _TIMES
    ),
)
"""Rows that are replayed when they are named: an agent that asks again and again.

Until it is frozen it makes no difference how soon the human would have given in.
"""
