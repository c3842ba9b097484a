"""What is said of a mined policy: to people in lines, to programs as an object, and as a folder.

The folder has ``policy/`` (all of it, as it would be), ``mined.patch`` (against the policy folder:
``patch -p1``) and ``report.json``. Nothing in it is a value that only the sealed content had and
one person alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from portcullis.review.mine import Proposal


def lines(found: Proposal) -> Iterator[str]:
    """For people; the first says how the draft stands to the past."""
    evidence, told = found.evidence, found.replayed
    agent = evidence.agent
    lost = f"{len(found.lost)} of the calls that it was mined from" if found.lost else "none"
    counts = f"{len(found.entries)} grants from {len(evidence.learned)} of {evidence.seen} calls"
    yield (
        f"{agent}: {counts} (not learned from: {evidence.refused} refused,"
        f" {evidence.failed} failed or without a result,"
        f" {evidence.unnamed} of what no entry can name,"
        f" {evidence.suspect} of attacked sessions)"
    )
    yield f"replayed {told.decisions} decisions; legitimate calls lost: {lost}"
    for one in found.lost[:20]:
        yield f"lost: {one.target} {one.code} ({one.event})"
    for group in found.denied:
        was = " or ".join(group.old)
        now = " or ".join(group.new)
        times = "once" if group.count == 1 else f"{group.count} times"
        yield f"{group.kind}: {group.action} {group.target} {times}, {was} -> {now}"
    for what in found.loosened:
        yield f"weaker than now: {what}"
    asked = sorted({one.name for one in found.entries if one.asked})
    if asked:
        yield f"a human lets through: {', '.join(asked)}"
    loose = [
        f"{one.name} {note}"
        for one in found.entries
        for note in one.notes
        if "not bound" in note or "not in the log" in note
    ]
    yield from (f"not bound: {one}" for one in loose)


def facts(found: Proposal) -> dict[str, Any]:
    """The report as one object."""
    evidence = found.evidence
    counts = msgspec.to_builtins(evidence)
    counts["learned"] = len(evidence.learned)
    replayed = msgspec.to_builtins(found.replayed)
    replayed.pop("groups")
    return {
        "agent": evidence.agent,
        "role": found.draft.role,
        "evidence": counts,
        "entries": msgspec.to_builtins(found.entries),
        "lost": msgspec.to_builtins(found.lost),
        "denied": msgspec.to_builtins(found.denied),
        "weaker": list(found.loosened),
        "replayed": replayed,
        "patch": found.draft.patch,
    }


def folder(found: Proposal, place: Path) -> None:
    """Write the draft into a new folder. Raises OSError."""
    policy = place / "policy"
    policy.mkdir(parents=True)
    for file in found.draft.files:
        (policy / file.name.rpartition("/")[2]).write_text(file.text, encoding="utf-8")
    (place / "mined.patch").write_text(found.draft.patch, encoding="utf-8")
    report = msgspec.json.format(msgspec.json.encode(facts(found)), indent=2)
    (place / "report.json").write_bytes(report + b"\n")
