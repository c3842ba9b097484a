"""OSCAL 1.2.1: an assessment as assessment-results, and what acts for it as component-definition.

A finding is made of a gap only, as not satisfied; what is evidenced is an observation. Nothing is
ever called satisfied: that is for an assessor to say. Identifiers are derived from what they name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from portcullis.review.evaluate import Assessment, RowState, State
from portcullis.review.facts import Mark
from portcullis.review.mapping import register

VERSION: Final = "1.2.1"
_FAMILY: Final = frozenset({"nist-800-53", "fedramp-moderate"})
_PLAN: Final = "Continuous evaluation of the audit log by the mapping that ships with the gate."


def proof_path(mark: Mark) -> str:
    """Where in a package the proof of an event lies."""
    return f"proofs/{mark.log}.{mark.index}.tlog-proof"


def control_id(framework: str, control: str) -> str:
    """A control's id as an OSCAL token; for 800-53 that of the published catalogue (ac-2.12)."""
    if framework in _FAMILY:
        return control.lower().replace("(", ".").replace(")", "")
    return f"{framework}_" + re.sub("[^a-z0-9.]+", "-", control.lower()).strip("-")


def assessment_results(assessment: Assessment, version: str) -> dict[str, Any]:
    """The document, as JSON's values; ``version`` is the program's."""
    ids = _Ids(assessment)
    plan, logs = ids.of("plan"), said_of(assessment)
    first = min((m.time for row in assessment.rows for m in marks_of(row)), default=assessment.at)
    result = {
        "uuid": ids.of("result"),
        "title": _line(assessment.title),
        "description": (
            f"What these entries and the settings evidence: {logs}. It does not say that any "
            "requirement is complied with."
        ),
        "start": _time(assessment.since or first),
        "end": _time(assessment.until or assessment.at),
        "reviewed-controls": {
            "control-selections": [
                {
                    "include-controls": [
                        {"control-id": one}
                        for one in dict.fromkeys(
                            control_id(assessment.framework, row.control) for row in assessment.rows
                        )
                    ]
                }
            ]
        },
        "observations": [_observation(ids, assessment, row) for row in assessment.rows],
    }
    findings = [_finding(ids, assessment, row) for row in assessment.rows if row.gaps]
    return {
        "assessment-results": {
            "uuid": ids.of("assessment-results"),
            "metadata": _metadata(f"Evidence: {assessment.title}", assessment.at, version),
            "import-ap": {"href": f"#{plan}"},
            "results": [result | ({"findings": findings} if findings else {})],
            "back-matter": {
                "resources": [
                    {"uuid": plan, "title": "Plan", "description": _PLAN},
                    {
                        "uuid": ids.of("manifest"),
                        "title": "Manifest",
                        "description": "Digests of all files, signed by the key of evidence.",
                        "rlinks": [{"href": "manifest"}],
                    },
                ]
            },
        }
    }


def component_definition(assessment: Assessment, version: str) -> dict[str, Any]:
    """What of this program acts for the framework's controls, from the register of controls."""
    ids = _Ids(assessment)
    threats = {control.id: control for control in register().controls}
    requirements = [
        {
            "uuid": ids.of("requirement", row.control),
            "control-id": control_id(assessment.framework, row.control),
            "description": row.title,
            "props": [
                {"name": "implementation-status", "value": "partial" if acting else "planned"},
                *({"name": "acting-control", "value": name} for name in acting),
            ],
            "remarks": "\n".join(
                [f"{threats[name].title}. Against: {threats[name].threat}" for name in acting]
            )
            or _missing(row),
        }
        for row in assessment.rows
        for acting in [row.controls]
    ]
    return {
        "component-definition": {
            "uuid": ids.of("component-definition"),
            "metadata": _metadata(f"Portcullis: {assessment.title}", assessment.at, version),
            "components": [
                {
                    "uuid": ids.of("component"),
                    "type": "software",
                    "title": "Portcullis",
                    "description": "A gate that every action of an AI agent passes.",
                    "purpose": "Identity, policy, containment and a record for AI agents",
                    "props": [{"name": "version", "value": version}],
                    "control-implementations": [
                        {
                            "uuid": ids.of("implementation"),
                            "source": f"urn:portcullis:framework:{assessment.framework}",
                            "description": _line(assessment.title),
                            "implemented-requirements": requirements,
                        }
                    ],
                }
            ],
        }
    }


def said_of(assessment: Assessment) -> str:
    """Of which logs how many entries were evaluated, and which are missing, on one line."""
    logs = [f"{size} of {origin}" for origin, size in assessment.logs.items()]
    return ", ".join([*logs, *(f"none of {name}, which is missing" for name in assessment.missing)])


def marks_of(row: RowState) -> Iterable[Mark]:
    """The events that a row names."""
    for seen in row.evidence:
        yield from (mark for mark in (seen.first, seen.last) if mark is not None)
    for gap in row.gaps:
        yield from gap.marks


class _Ids:
    """Identifiers (RFC 9562 version 5) of the parts of one evaluation."""

    def __init__(self, assessment: Assessment) -> None:
        whole = (assessment.framework, assessment.size, assessment.since, assessment.until)
        name = ":".join(map(str, (assessment.origin, assessment.logs, *whole, assessment.at)))
        self._space = uuid5(NAMESPACE_URL, f"urn:portcullis:evidence:{name}")

    def of(self, *names: str) -> str:
        return str(uuid5(self._space, "/".join(names)))


def _observation(ids: _Ids, assessment: Assessment, row: RowState) -> dict[str, Any]:
    collected = max((mark.time for mark in marks_of(row)), default=assessment.at)
    evidence = [
        {
            "description": _line(f"{seen.count} {seen.about}"),
            "props": [
                {"name": "signal", "value": seen.signal},
                {"name": "count", "value": str(seen.count)},
            ],
            "links": _links((seen.first, seen.last)),
        }
        for seen in row.evidence
        if seen.count
    ]
    evidence += [
        {
            "description": _line(f"setting {name}: {value}"),
            "props": [{"name": "setting", "value": name}],
        }
        for name, value in row.settings.items()
    ]
    said: dict[str, Any] = {
        "uuid": ids.of("observation", row.control),
        "title": _line(f"{row.control}: {row.title}"),
        "description": _line(row.reason or f"{row.control} is {row.state}"),
        "methods": ["EXAMINE"],
        "types": ["control-objective"],
        "props": [
            {"name": "state", "value": row.state.replace(" ", "-")},
            {"name": "control", "value": control_id(assessment.framework, row.control)},
        ],
        "collected": _time(collected),
    }
    return said | ({"relevant-evidence": evidence} if evidence else {})


def _finding(ids: _Ids, assessment: Assessment, row: RowState) -> dict[str, Any]:
    why = "; ".join(
        f"{gap.condition}: {gap.reason}"
        + (f" (since {_time(gap.since)})" if gap.since is not None else "")
        for gap in row.gaps
    )
    links = _links(mark for gap in row.gaps for mark in gap.marks)
    return {
        "uuid": ids.of("finding", row.control),
        "title": _line(f"Gap in the evidence for {row.control}"),
        "description": _line(why),
        "props": [{"name": "condition", "value": gap.condition} for gap in row.gaps],
        **({"links": links} if links else {}),
        "target": {
            "type": "objective-id",
            "target-id": control_id(assessment.framework, row.control),
            "status": {"state": "not-satisfied", "reason": State.GAP.value},
        },
        "related-observations": [{"observation-uuid": ids.of("observation", row.control)}],
    }


def _links(marks: Iterable[Mark | None]) -> list[dict[str, str]]:
    found = {(mark.log, mark.index): mark for mark in marks if mark is not None}
    return [
        {"href": proof_path(mark), "rel": "evidence", "text": f"event {mark.index} of {mark.log}"}
        for mark in found.values()
    ]


def _missing(row: RowState) -> str:
    return f"Nothing acts for it yet: {row.reason or 'it is a matter of settings'}."


def _metadata(title: str, at: datetime, version: str) -> dict[str, Any]:
    return {
        "title": _line(title),
        "last-modified": _time(at),
        "version": version,
        "oscal-version": VERSION,
    }


def _line(text: str) -> str:
    """A text as OSCAL's one-line strings want it: printable, no white space around it."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text).strip()
    return shown or "-"


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
