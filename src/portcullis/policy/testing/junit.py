"""Outcomes as JUnit XML, which builds show."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from xml.sax.saxutils import quoteattr

from portcullis.policy.testing.model import Outcome, Ruled

_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold (section 2.2)."""


def junit(outcomes: Iterable[Outcome], rules: Iterable[Ruled]) -> str:
    """One suite for the cases and one for the ``test_`` rules."""
    cases = [(one.case, one.origin, "; ".join(one.wrong), False) for one in outcomes]
    tests = [
        (one.rule, one.origin, "" if one.passed or one.skipped else "does not hold", one.skipped)
        for one in rules
    ]
    suites = [_suite("cases", cases), *([_suite("test_ rules", tests)] if tests else [])]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n'
        + "".join(suites)
        + ("</testsuites>\n")
    )


def _suite(name: str, tests: list[tuple[str, str, str, bool]]) -> str:
    failures = sum(bool(wrong) for _, _, wrong, _ in tests)
    skipped = sum(left for _, _, _, left in tests)
    counts = f'tests="{len(tests)}" failures="{failures}" errors="0" skipped="{skipped}"'
    lines = [f"  <testsuite name={_quoted(name)} {counts}>\n"]
    for told, origin, wrong, left in tests:
        file, _, line = origin.rpartition(":")
        head = f"    <testcase classname={_quoted(file)} name={_quoted(told)}"
        head += f" file={_quoted(file)} line={_quoted(line)}"
        if wrong:
            lines.append(f"{head}>\n      <failure message={_quoted(wrong)}/>\n    </testcase>\n")
        elif left:
            lines.append(f"{head}>\n      <skipped/>\n    </testcase>\n")
        else:
            lines.append(f"{head}/>\n")
    return "".join([*lines, "  </testsuite>\n"])


def _quoted(text: str) -> str:
    return quoteattr(_FORBIDDEN.sub("\ufffd", text))
