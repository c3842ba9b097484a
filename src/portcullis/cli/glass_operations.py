"""What the commands do about broken glass: through a control plane, or themselves."""

from __future__ import annotations

from portcullis.cli.both_ways import Remotely, Run
from portcullis.control.break_glass import BreakingGlass
from portcullis.control.break_glass_api import GlassList, GlassView
from portcullis.core.break_glass import Judgement
from portcullis.core.call import Context

_PATH = "/break-glass"


class RemoteGlass(Remotely):
    """Asks the control plane."""

    def list(self) -> GlassList:
        """The newest ones."""
        return GlassList.model_validate(self._call("GET", _PATH))

    def end(self, glass_id: str) -> GlassView:
        """Take the rights away."""
        return GlassView.model_validate(self._call("POST", f"{_PATH}/{glass_id}/end"))

    def review(self, glass_id: str, judgement: Judgement, reason: str) -> GlassView:
        """Close one."""
        body = {"judgement": judgement, "reason": reason}
        return GlassView.model_validate(self._call("POST", f"{_PATH}/{glass_id}/review", body))


class DirectGlass:
    """Does it on services of its own; ``run`` records refusals."""

    def __init__(self, breaking: BreakingGlass, context: Context, run: Run) -> None:
        self._breaking = breaking
        self._context = context
        self._run = run

    def list(self) -> GlassList:
        """The newest ones."""
        found = self._run(self._breaking.list(), "break_glass.list", "")
        return GlassList(broken=[GlassView.of(one) for one in found])

    def end(self, glass_id: str) -> GlassView:
        """Take the rights away."""
        work = self._breaking.end(self._context, glass_id)
        return GlassView.of(self._run(work, "break_glass.ended", glass_id))

    def review(self, glass_id: str, judgement: Judgement, reason: str) -> GlassView:
        """Close one."""
        work = self._breaking.close(self._context, glass_id, judgement, reason)
        return GlassView.of(self._run(work, "break_glass.reviewed", glass_id))
