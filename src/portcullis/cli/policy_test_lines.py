"""What ``portcullis policy test`` says: lines for people, an object a line for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from portcullis.cli.audit_lines import clean
from portcullis.cli.json_lines import plain, without_kind, write_line
from portcullis.core.verdict import Allow
from portcullis.policy.testing.coverage import Coverage
from portcullis.policy.testing.model import Outcome, Ruled
from portcullis.policy.testing.mutate import Mutation


def show_run(
    digest: str, outcomes: tuple[Outcome, ...], rules: tuple[Ruled, ...], *, as_json: bool
) -> None:
    """Every case and rule, for people only those that fail, and how many there are."""
    wrong = [one for one in outcomes if not one.passed]
    broken = [one for one in rules if not one.passed and not one.skipped]
    skipped = sum(one.skipped for one in rules)
    failed = len(wrong) + len(broken)
    counts = {
        "passed": len(outcomes) + len(rules) - failed - skipped,
        "failed": failed,
        "skipped": skipped,
    }
    if as_json:
        for outcome in outcomes:
            write_line({"kind": "case", "passed": outcome.passed, **plain(outcome)})
        for ruled in rules:
            write_line({"kind": "rule", **plain(ruled)})
        write_line({"kind": "summary", "digest": digest, **counts})
        return
    _say(_told(outcome) for outcome in wrong)
    _say(f"FAILED {one.origin}: {one.rule}\n  does not hold" for one in broken)
    said = "{passed} passed, {failed} failed".format(**counts)
    _say([said + (f", {skipped} skipped" if skipped else "")])


def _told(outcome: Outcome) -> str:
    verdict = outcome.verdict
    got = "allow" if isinstance(verdict, Allow) else f"deny {verdict.code}"
    lines = [f"FAILED {outcome.origin}: {outcome.case}", *(f"  {why}" for why in outcome.wrong)]
    lines.append(f"  {got}: {verdict.reason}{f' ({verdict.rule})' if verdict.rule else ''}")
    return "\n".join(lines)


def show_coverage(found: Coverage, *, as_json: bool) -> None:
    """What was never decisive, and how much was."""
    if as_json:
        for one in found.missed:
            write_line({"kind": "uncovered", "part": one.kind, **without_kind(one)})
        counts = {"covered": len(found.covered), "missed": len(found.missed)}
        write_line({"kind": "coverage", "percent": round(found.percent, 1), **counts})
        return
    for one in found.missed:
        said = "" if one.path.endswith(f".{one.told}") else f" {one.told}"
        _say([f"never decisive: {one.origin}: {one.kind} {one.path}{said}"])
    total = len(found.covered) + len(found.missed)
    _say([f"coverage {found.percent:.1f} %: {len(found.covered)} of {total} were decisive"])


def show_mutation(tried: Mutation, *, as_json: bool) -> None:
    """The mutants that no case noticed, each with one that would, and how many there are."""
    counts = {fate: len(tried.of(fate)) for fate in ("killed", "survived", "refused", "untried")}
    if as_json:
        for one in (*tried.of("survived"), *tried.of("untried")):
            told = plain(one.mutant)
            told.pop("edits")
            write_line({"kind": "mutant", "fate": one.fate, **told})
        write_line({"kind": "mutation", "score": round(tried.score, 1), **counts})
        return
    for one in tried.of("survived"):
        mutant = one.mutant
        _say([f"SURVIVED {mutant.origin}: {mutant.change}: {mutant.told}"])
        _say([f"  nobody tests it; a case that would: {mutant.needs}"])
    said = "{killed} killed, {survived} survived, {refused} were no policy".format(**counts)
    said += f", {counts['untried']} untried: time was over" if counts["untried"] else ""
    _say([f"mutants {tried.score:.1f} %: {said}"])


def _say(lines: Iterable[str]) -> None:
    for text in lines:
        sys.stdout.write("".join(f"{clean(line)}\n" for line in text.split("\n")))
