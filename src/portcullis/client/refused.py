"""What a guarded tool raises in place of its result."""

from __future__ import annotations

from typing import Self

from portcullis.core.errors import Problem


class Refused(Problem):
    """The gate's refusal, or a gate that cannot be asked: both mean that the tool did not run.

    But when ``ran`` is true it did: its result is what is withheld, and running it once more would
    do the same thing twice.
    """

    ran = False

    @classmethod
    def of(cls, problem: Problem, *, ran: bool = False) -> Self:
        """A refusal for the reasons of ``problem``."""
        refused = cls(problem.code, problem.detail, hint=problem.hint)
        refused.approval = problem.approval
        refused.ran = ran
        return refused

    @property
    def message(self) -> str:
        """The refusal as a model is told it."""
        ran = " The tool has run; its result is withheld." if self.ran else ""
        return f"{self.code}: {self.detail.rstrip('.')}. {self.hint}{ran}"


class Held(Refused):
    """A human decides, and ``approval`` says on what: the same call, sent again later, may run."""


class ToolError(Exception):
    """A tool failed: this is what may be said of it, where the exception itself says more."""
