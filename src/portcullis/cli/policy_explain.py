"""``portcullis policy decide --explain``: the steps of one decision, in words."""

from __future__ import annotations

import sys
from typing import Any, Final

import msgspec

from portcullis.cli.audit_lines import clean
from portcullis.core.codes import CODES
from portcullis.core.verdict import Allow, Deny
from portcullis.policy.explain import Step

_MARKS: Final = {True: "yes", False: "no "}


def printed(steps: tuple[Step, ...], verdict: Allow | Deny) -> None:
    """Print the steps, and what to change where the verdict is no."""
    lines = [_line(step) for step in steps]
    if isinstance(verdict, Deny):
        lines.append(f"to change it: {CODES[verdict.code].hint}")
    sys.stdout.write("".join(f"{clean(line)}\n" for line in lines))


def plain(steps: tuple[Step, ...], verdict: Allow | Deny) -> dict[str, Any]:
    """The same for ``--json``."""
    found: dict[str, Any] = {"steps": [msgspec.to_builtins(step) for step in steps]}
    if isinstance(verdict, Deny):
        found["change"] = CODES[verdict.code].hint
    return found


def _line(step: Step) -> str:
    where = f"  [{step.rule}]" if step.rule else ""
    return f"{'    ' * step.depth}{_MARKS[step.held]}  {step.said}{where}"
