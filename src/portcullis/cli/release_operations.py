"""What the commands do about releases of policy: through a control plane, or themselves."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from portcullis.cli.both_ways import Remotely, Run
from portcullis.control.releases import Releasing
from portcullis.control.releases_api import (
    FileView,
    ReleaseDetail,
    ReleaseList,
    ReleaseText,
    ReleaseView,
)
from portcullis.core.call import Context
from portcullis.core.release import TOLD, File, Verb

_PATH = "/policy/releases"


class RemoteReleases(Remotely):
    """Asks the control plane."""

    def list(self) -> ReleaseList:
        """The newest releases."""
        return ReleaseList.model_validate(self._call("GET", _PATH))

    def show(self, number: int) -> ReleaseDetail:
        """A release and what was counted of it."""
        return ReleaseDetail.model_validate(self._call("GET", f"{_PATH}/{number}"))

    def files(self, number: int) -> ReleaseText:
        """The text of a release."""
        return ReleaseText.model_validate(self._call("GET", f"{_PATH}/{number}/files"))

    def propose(self, files: tuple[File, ...], note: str) -> ReleaseView:
        """Propose a policy."""
        given = [{"name": one.name, "text": one.text} for one in files]
        return self._done("", {"files": given, "note": note})

    def approve(self, number: int, reason: str) -> ReleaseView:
        """Approve a release."""
        return self._done(f"/{number}/approve", {"reason": reason})

    def reject(self, number: int, reason: str) -> ReleaseView:
        """Reject a release."""
        return self._done(f"/{number}/reject", {"reason": reason})

    def rollback(self, number: int, reason: str) -> ReleaseView:
        """Take a release back."""
        return self._done(f"/{number}/rollback", {"reason": reason})

    def shadow(self, number: int) -> ReleaseView:
        """Hold a release against the one in force."""
        return self._done(f"/{number}/shadow", None)

    def canary(self, number: int, share: int) -> ReleaseView:
        """Let a release decide for some sessions."""
        return self._done(f"/{number}/canary", {"share": share})

    def activate(self, number: int) -> ReleaseView:
        """Have a release take force."""
        return self._done(f"/{number}/activate", None)

    def _done(self, path: str, body: dict[str, Any] | None) -> ReleaseView:
        return ReleaseView.model_validate(self._call("POST", f"{_PATH}{path}", body))


class DirectReleases:
    """Does it itself, as ``context`` says who."""

    def __init__(self, releasing: Releasing, context: Context, run: Run) -> None:
        self._releasing = releasing
        self._context = context
        self._run = run

    def list(self) -> ReleaseList:
        """The newest releases."""
        found = self._run(self._releasing.list(), "policy.release.list", "")
        return ReleaseList(
            releases=[ReleaseView.of(one) for one in found],
            needed=self._releasing.needed,
            binding=self._releasing.binding,
        )

    def show(self, number: int) -> ReleaseDetail:
        """A release and what was counted of it."""
        work = ReleaseDetail.to(number, self._releasing, self._context)
        return self._run(work, "policy.release.show", str(number))

    def files(self, number: int) -> ReleaseText:
        """The text of a release."""
        found = self._run(self._releasing.files(number), "policy.release.show", str(number))
        return ReleaseText(files=[FileView(name=one.name, text=one.text) for one in found])

    def propose(self, files: tuple[File, ...], note: str) -> ReleaseView:
        """Propose a policy."""
        work = self._releasing.propose(self._context, files, note)
        return ReleaseView.of(self._run(work, "policy.release.propose", ""))

    def approve(self, number: int, reason: str) -> ReleaseView:
        """Approve a release."""
        return self._done(Verb.APPROVE, number, self._releasing.approve, reason)

    def reject(self, number: int, reason: str) -> ReleaseView:
        """Reject a release."""
        return self._done(Verb.REJECT, number, self._releasing.reject, reason)

    def rollback(self, number: int, reason: str) -> ReleaseView:
        """Take a release back."""
        return self._done(Verb.ROLL_BACK, number, self._releasing.rollback, reason)

    def shadow(self, number: int) -> ReleaseView:
        """Hold a release against the one in force."""
        return self._done(Verb.SHADOW, number, self._releasing.shadow)

    def canary(self, number: int, share: int) -> ReleaseView:
        """Let a release decide for some sessions."""
        return self._done(Verb.CANARY, number, self._releasing.canary, share)

    def activate(self, number: int) -> ReleaseView:
        """Have a release take force."""
        return self._done(Verb.ACTIVATE, number, self._releasing.activate)

    def _done(
        self, verb: Verb, number: int, work: Callable[..., Coroutine[Any, Any, Any]], *more: Any
    ) -> ReleaseView:
        made = work(self._context, number, *more)
        return ReleaseView.of(self._run(made, TOLD[verb], str(number)))
