"""``portcullis policy review``: what agents may, what of it they can and do, and what is wrong."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from portcullis.cli.audit_lines import clean, note
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json, load
from portcullis.cli.policy_text import Against, named
from portcullis.cli.progress import progress
from portcullis.core.errors import Problem

if TYPE_CHECKING:
    from portcullis.config import Config
    from portcullis.policy.source import SourceFile
    from portcullis.review.grants import AgentSets, Finding, Report

_FAILED = 5


def review(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="The policy folder; default: what is in force."),
    ] = None,
    *,
    against: Against = "",
    unused_days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="How long a grant may lie idle.")
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            help="Exit with 5 when there is one: high, medium, low, or a finding; repeatable."
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report here too, as one page.")] = (
        None
    ),
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Join what policy declares with what it comes to, what servers offer, and what was used.

    Where there is a deployment, its log, its tools and the last access reviews count. Without one,
    the policy alone is reviewed. Against another policy, what agents may now and could not then is
    a finding.
    """
    from portcullis.review.grants import SEVERITIES  # noqa: PLC0415 - slow
    from portcullis.review.grants_findings import rules  # noqa: PLC0415 - the same
    from portcullis.review.grants_page import page  # noqa: PLC0415 - the same

    wanted, words = frozenset(fail_on or ()), (*SEVERITIES, *rules().findings)
    if not wanted <= set(words):
        raise Problem("PC7004", f"--fail-on is one of {', '.join(words)}")
    with progress("reviewing", quiet=as_json):
        report = _report(directory, against, unused_days, config)
    if html is not None:
        try:
            html.write_text(page(report), encoding="utf-8")
        except OSError as error:
            raise Problem("PC7004", f"cannot write {html}: {error.strerror}") from None
    if as_json:
        sys.stdout.write(msgspec.json.encode(_plain(report)).decode() + "\n")
    else:
        _show(report)
    if any({one.severity, one.kind} & wanted for one in report.findings):
        raise typer.Exit(_FAILED)


def _report(directory: Path | None, against: str, days: int | None, config: Path) -> Report:
    from portcullis.policy.source import read  # noqa: PLC0415 - slow
    from portcullis.review.grants import Known  # noqa: PLC0415 - the same
    from portcullis.review.grants_review import Asking, review  # noqa: PLC0415 - the same

    now = time.time()
    before = named(against, config) if against else None
    if config.exists() or directory is None:
        found = _surveyed(load(config), directory, before, days, now)
        if found is not None:
            return found
    files = read(directory or load(config).policy)
    environment = load(config).environment if config.exists() else "production"
    asking = Asking(unused_days=days or 90, environment=environment)
    return review(files, Known(widened=_widened(before, files)), now, asking)


def _surveyed(
    config: Config,
    directory: Path | None,
    before: tuple[SourceFile, ...] | None,
    days: int | None,
    now: float,
) -> Report | None:
    """The review of a deployment; None where there is none yet."""
    from portcullis.bootstrap.certifying import surveying  # noqa: PLC0415 - slow
    from portcullis.bootstrap.releases import binding  # noqa: PLC0415 - the same
    from portcullis.cli.audit_query import catch_up, store  # noqa: PLC0415 - the same
    from portcullis.policy.source import read  # noqa: PLC0415 - the same

    with surveying(config) as survey:
        if survey is None:
            return None
        with store(config) as projection:
            catch_up(config, projection, quiet=True)
        active = survey.active() if directory is None else None
        if active is not None and binding(config):
            release, files = active[0].number, active[1]
        else:
            files = read(directory or config.policy)
            release = 0 if active is None or active[1] != files else active[0].number
        extra = None if before is None else _widened(before, files)
        return survey.report(files, now, release, days, extra)


def _widened(
    before: tuple[SourceFile, ...] | None, files: tuple[SourceFile, ...]
) -> dict[str, tuple[str, ...]]:
    if before is None:
        return {}
    from portcullis.catalogue.schema import fault  # noqa: PLC0415 - slow
    from portcullis.policy.grammar import parse  # noqa: PLC0415 - the same
    from portcullis.review.grants_widened import widened  # noqa: PLC0415 - the same

    return widened(parse(before, fault), parse(files, fault))


def _plain(report: Report) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(report)
    return plain | {"counts": report.counts}


def _show(report: Report) -> None:
    for one in report.agents:
        _line(_agent(one, known=report.log_from is not None))
    for finding in report.findings:
        for line in _finding(finding):
            _line(line)
    counts = ", ".join(f"{number} {severity}" for severity, number in report.counts.items())
    _line(f"{len(report.agents)} agents; findings: {counts}")
    if report.log_from is None:
        note("without a log: who used what is not known")
    elif report.at - report.log_from < report.days * 86_400:
        note(f"the log is younger than {report.days} days: no grant counts as unused")


def _agent(one: AgentSets, *, known: bool) -> str:
    reachable = "-" if one.reachable is None else str(len(one.reachable))
    used = str(len(one.used)) if known else "-"
    return (
        f"{one.agent} ({one.role}, {one.owner or 'no owner'}): {len(one.declared)} declared, "
        f"{len(one.effective)} tools effective, {reachable} reachable, {used} used"
    )


def _finding(one: Finding) -> list[str]:
    lines = [f"{one.severity.upper()} {one.title}: {one.text}"]
    lines += [f"  at {one.place}: {one.rule}"] if one.place else []
    return [*lines, f"  {one.advice}"]


def _line(text: str) -> None:
    sys.stdout.write(f"{clean(text)}\n")
