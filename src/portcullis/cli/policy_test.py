"""``portcullis policy test``: does a policy answer as its cases say, and would they notice?"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from portcullis.bootstrap.keys import SystemClock
from portcullis.catalogue.schema import fault
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json
from portcullis.cli.policy_test_lines import show_coverage, show_mutation, show_run
from portcullis.cli.progress import progress
from portcullis.config import load
from portcullis.core.errors import Problem
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.pdp import compile_files
from portcullis.policy.source import TESTS, SourceFile, read
from portcullis.policy.testing.cases import read_cases
from portcullis.policy.testing.coverage import Coverage, coverage
from portcullis.policy.testing.junit import junit
from portcullis.policy.testing.model import Case, Outcome, Ruled
from portcullis.policy.testing.moments import FORM, moment
from portcullis.policy.testing.mutate import Mutation, Trial, mutate
from portcullis.policy.testing.rules import read_rules, run_rules
from portcullis.policy.testing.run import run

_FAILED = 5


def run_tests(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="The policy folder; default: the configuration's."),
    ] = None,
    *,
    cases: Annotated[
        Path | None, typer.Option(help="The folder of the cases; default: tests in the policy's.")
    ] = None,
    at: Annotated[
        str, typer.Option(help="When cases are asked that do not say; default: now.")
    ] = "",
    cover: Annotated[
        bool, typer.Option("--coverage", help="Say which parts of the policy decided no case.")
    ] = False,
    mutants: Annotated[
        bool, typer.Option("--mutate", help="Change the policy bit by bit: do the cases notice?")
    ] = False,
    minimum: Annotated[
        float,
        typer.Option(
            min=0, max=100, help="Fail below so many percent, of coverage and of mutants killed."
        ),
    ] = 0,
    seconds: Annotated[float, typer.Option(min=1, help="How long to try mutants.")] = 120,
    processes: Annotated[
        int,
        typer.Option(min=0, max=64, help="In how many at once, if many; 0: as there are cores."),
    ] = 0,
    report: Annotated[
        Path | None, typer.Option("--junit", help="Write the outcomes to a file, as JUnit XML.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Ask the policy what its cases ask, and run its test_ rules. Exit code 5 when one fails.

    Cases are YAML in the folder tests of the policy's; test_ rules stand in *_test.rego there or
    beside the policy's files.
    """
    if minimum and not (cover or mutants):
        raise Problem("PC7004", "--minimum goes with --coverage or --mutate")
    folder = directory or load(config).policy
    beside = cases or folder / TESTS
    if cases is not None and not cases.is_dir():
        raise Problem("PC7022", f"there is no folder {cases}")
    now = SystemClock().now() if not at else moment(at)
    if now is None:
        raise Problem("PC7004", f"--at is {FORM}")
    suite = _Suite(read(folder), read_cases(beside), read_rules(folder, beside), now)
    if not suite.cases and not suite.rules:
        hint = "Write some: docs/policy-tests.md shows how."
        raise Problem("PC7022", f"there are no cases in {beside}, and no test_ rules", hint=hint)
    failed = suite.run(as_json=as_json)
    if report is not None:
        _write(report, junit(suite.outcomes, suite.ruled))
    if cover:
        found = suite.coverage()
        show_coverage(found, as_json=as_json)
        failed |= found.percent < minimum
    if mutants:
        if any(not one.passed for one in suite.outcomes) or suite.broken:
            raise Problem("PC7024", "cases fail, so they would fail with mutants, too")
        with progress("trying mutants", quiet=as_json):
            tried = suite.mutate(seconds, processes or os.cpu_count() or 1)
        show_mutation(tried, as_json=as_json)
        failed |= tried.score < minimum
    if failed:
        raise typer.Exit(_FAILED)


class _Suite:
    """A policy with all that tests it. ``outcomes`` and ``ruled`` are there after ``run``."""

    def __init__(
        self,
        files: tuple[SourceFile, ...],
        cases: tuple[Case, ...],
        rules: tuple[SourceFile, ...],
        now: float,
    ) -> None:
        self.files, self.cases, self.rules = files, cases, rules
        self.outcomes: tuple[Outcome, ...] = ()
        self.ruled: tuple[Ruled, ...] = ()
        self._now = now

    @property
    def broken(self) -> tuple[Ruled, ...]:
        """The test_ rules that do not hold."""
        return tuple(one for one in self.ruled if not one.passed and not one.skipped)

    def run(self, *, as_json: bool) -> bool:
        """Run and show everything; whether something failed."""
        engine = RegorusEngine()
        policy = compile_files(self.files, fault, engine)
        self.outcomes = tuple(run(self.cases, policy, engine, now=self._now))
        self.ruled = run_rules(self.rules, policy.bundle)
        show_run(policy.digest, self.outcomes, self.ruled, as_json=as_json)
        return not all(one.passed for one in self.outcomes) or bool(self.broken)

    def coverage(self) -> Coverage:
        """What of the policy decided a case."""
        return coverage(self.files, self.cases, self.outcomes)

    def mutate(self, seconds: float, processes: int) -> Mutation:
        """What becomes of its mutants."""
        trial = partial(Trial, self.files, self.cases, self.rules, fault, self._now)
        return mutate(trial, SystemClock(), seconds=seconds, processes=processes)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Problem("PC7004", f"cannot write {path}: {error.strerror}") from None
