"""The rules in force: the built-in ones and those of a folder, which are read again as they change.

What cannot be read changes nothing: the rules in force stay, and the Problem is reported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import structlog

from portcullis.core.errors import Problem
from portcullis.oversight.alerts.builtin import beside, builtin, sources
from portcullis.oversight.alerts.loader import load
from portcullis.policy.source import SourceFile

log = structlog.get_logger(__name__)

Report = Callable[[dict[str, object], Problem | None], None]


class Rules:
    """Keeps rules at what a folder says. Blocks; of one thread.

    The constructor reads them and raises Problem PC7002 for what is wrong. ``look`` waits until it
    has read the same twice, so that a half-written file is not taken for rules. ``report`` is told
    of what is in force, and of each Problem once per content.
    """

    def __init__(self, folder: Path | None, report: Report) -> None:
        self._folder = folder
        self._report = report
        self._judged: object = None
        self._before: object = None
        self.rules = builtin()
        if folder is not None:
            files = sources(folder)
            self._judged = self._before = files
            self._adopt(files)

    def look(self) -> bool:
        """Read them again; whether there are others now."""
        if self._folder is None:
            return False
        found, problem = self._read(self._folder)
        steady, self._before = found == self._before, found
        if not steady or found == self._judged:
            return False
        self._judged = found
        try:
            if problem is not None:
                raise problem
            self._adopt(found)
        except Problem as refused:
            self._refuse(refused)
            return False
        return True

    def _refuse(self, problem: Problem) -> None:
        log.error("alert_rules_refused", code=problem.code, detail=problem.detail)
        self._report({}, problem)

    def _read(self, folder: Path) -> tuple[tuple[SourceFile, ...], Problem | None]:
        try:
            return sources(folder), None
        except Problem as problem:
            return (SourceFile("", problem.detail),), problem

    def _adopt(self, files: tuple[SourceFile, ...]) -> None:
        own = load(files)
        self.rules = beside(own)
        names = {one.name for one in own}
        said = {
            "digest": digest(files),
            "rules": len(own),
            "replaced": sorted(one.name for one in builtin() if one.kept and one.name in names),
        }
        log.info("alert_rules_activated", rules=len(own))
        self._report(said, None)


def digest(files: tuple[SourceFile, ...]) -> str:
    """What stands for these rules, and no others: SHA-256 of the files' names and texts."""
    said = hashlib.sha256()
    for one in files:
        for part in (one.name, one.text):
            raw = part.encode()
            said.update(b"%d:" % len(raw) + raw)
    return said.hexdigest()
