"""The ports of releases of policy."""

from __future__ import annotations

from typing import Protocol

from portcullis.core.release import File, Release, Standing, Tallies, Verb


class ReleaseBook(Protocol):
    """The releases of a deployment, the same for all its processes. Every method blocks.

    A method that fails raises Problem PC9002, and nothing was changed. ``version`` is another
    number after every change, and asked often. ``files`` raises Problem PC7038 when what is stored
    is not what was proposed. ``propose`` numbers and stores a release; ``first`` does so, and makes
    it active, only when none ever was, and returns None otherwise. ``took`` is for what the
    folder put in force by itself: active at once, and no second time while it is.

    ``move`` does a verb on a release, all of it or nothing: what is active is superseded by what is
    activated, and rolling back what is active restores what was before it. It raises Problem PC7030
    for a number that there is not, PC7031 for a verb that does not apply (another candidate is in
    its place, nothing to go back to), PC7025 for a second step back, PC7032 when fewer than
    ``needed`` have approved. ``approve`` adds an approval; the release is approved when there are
    ``needed``. The caller has judged that it is another person's than the ``seen`` ones': where
    there are others by now, PC7031.

    ``tally`` replaces what one gateway counted of a release; ``tallies`` adds them up.
    ``mark`` notes the revision of a bundle from a source; ``marked`` is the last one, or "".
    """

    def version(self) -> int: ...
    def standing(self) -> Standing: ...
    def list(self, limit: int) -> tuple[Release, ...]: ...
    def get(self, number: int) -> Release | None: ...
    def files(self, number: int) -> tuple[File, ...]: ...
    def known(self, text: str) -> bool: ...
    def propose(self, release: Release, files: tuple[File, ...]) -> Release: ...
    def first(self, release: Release, files: tuple[File, ...]) -> Release | None: ...
    def took(self, release: Release, files: tuple[File, ...]) -> Release: ...
    def approve(
        self, number: int, *, by: str, at: float, note: str, needed: int, seen: int
    ) -> Release: ...
    def move(
        self,
        number: int,
        verb: Verb,
        *,
        by: str,
        at: float,
        reason: str = "",
        share: int = 0,
        needed: int = 0,
    ) -> Release: ...
    def tally(self, number: int, gateway: str, tallies: Tallies) -> None: ...
    def tallies(self, number: int) -> Tallies: ...
    def mark(self, source: str, revision: str) -> None: ...
    def marked(self, source: str) -> str: ...
