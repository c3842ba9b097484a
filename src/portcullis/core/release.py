"""The life of a release of policy: one table of stages, and why each verb leads where it does.

    proposed --approve--> approved --shadow--> shadow --canary--> canary --activate--> active
                                                                                         |
                 reject: rejected          roll back: rolled back          supersede: superseded

A release is the text of a policy with a number, and never changes. Whether it has been approved is
not its stage but its approvals: canary and activation ask for as many as are needed at that time.
At most one release is active, and at most one other is in shadow or canary.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Final

import msgspec

from portcullis.core.errors import Problem

MAX_BYTES: Final = 4 * 2**20
"""The longest text of a release, in bytes, of all its files together."""
MAX_FILES: Final = 512
MAX_SHARE: Final = 50
"""The largest share of sessions, in percent, of a canary: it is held against the others."""
MOST_DIFFERENCES: Final = 1000
"""Kinds of differences that are told apart in one process; what comes on top is one number."""
MOST_HIT: Final = 64
"""So many sessions that a canary newly denies something are told apart in one process."""


class Stage(StrEnum):
    """Where a release is."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    SHADOW = "shadow"
    """Its answers are held against those of the active one, and nothing else."""
    CANARY = "canary"
    """It decides for a share of the sessions."""
    ACTIVE = "active"
    SUPERSEDED = "superseded"
    """It was active; another one is."""
    ROLLED_BACK = "rolled_back"
    REJECTED = "rejected"


class Verb(StrEnum):
    """What happens to a release. ``supersede`` and ``restore`` happen when another one moves."""

    APPROVE = "approve"
    REJECT = "reject"
    SHADOW = "shadow"
    CANARY = "canary"
    ACTIVATE = "activate"
    ROLL_BACK = "rollback"
    SUPERSEDE = "supersede"
    RESTORE = "restore"


TOLD: Final = {
    Verb.APPROVE: "policy.release.approve",
    Verb.REJECT: "policy.release.reject",
    Verb.SHADOW: "policy.release.shadow",
    Verb.CANARY: "policy.release.canary",
    Verb.ACTIVATE: "policy.release.activate",
    Verb.ROLL_BACK: "policy.release.rollback",
}
"""The method under which each verb of an operator's stands in the log."""

TRANSITIONS: Final[dict[tuple[Stage, Verb], Stage]] = {
    # Enough people said yes; one who comes after them is heard as well.
    (Stage.PROPOSED, Verb.APPROVE): Stage.APPROVED,
    (Stage.APPROVED, Verb.APPROVE): Stage.APPROVED,
    # A shadow decides nothing, so who approves may look at it before.
    (Stage.SHADOW, Verb.APPROVE): Stage.SHADOW,
    (Stage.PROPOSED, Verb.SHADOW): Stage.SHADOW,
    (Stage.APPROVED, Verb.SHADOW): Stage.SHADOW,
    (Stage.PROPOSED, Verb.CANARY): Stage.CANARY,
    (Stage.APPROVED, Verb.CANARY): Stage.CANARY,
    (Stage.SHADOW, Verb.CANARY): Stage.CANARY,
    # Another share.
    (Stage.CANARY, Verb.CANARY): Stage.CANARY,
    (Stage.PROPOSED, Verb.ACTIVATE): Stage.ACTIVE,
    (Stage.APPROVED, Verb.ACTIVATE): Stage.ACTIVE,
    (Stage.SHADOW, Verb.ACTIVATE): Stage.ACTIVE,
    (Stage.CANARY, Verb.ACTIVATE): Stage.ACTIVE,
    # It was never in force, so there is nothing to go back to.
    (Stage.PROPOSED, Verb.REJECT): Stage.REJECTED,
    (Stage.APPROVED, Verb.REJECT): Stage.REJECTED,
    (Stage.SHADOW, Verb.REJECT): Stage.REJECTED,
    # By an operator, or by itself when too much is denied. What was rolled back is not tried again:
    # the same text is proposed anew, and somebody approves it knowing that.
    (Stage.SHADOW, Verb.ROLL_BACK): Stage.ROLLED_BACK,
    (Stage.CANARY, Verb.ROLL_BACK): Stage.ROLLED_BACK,
    (Stage.ACTIVE, Verb.ROLL_BACK): Stage.ROLLED_BACK,
    (Stage.ACTIVE, Verb.SUPERSEDE): Stage.SUPERSEDED,
    # What came after it was rolled back.
    (Stage.SUPERSEDED, Verb.RESTORE): Stage.ACTIVE,
}
"""What may follow what; ``canary`` and ``activate`` take also that there are enough approvals."""


def after(stage: Stage, verb: Verb) -> Stage:
    """The stage that ``verb`` leads to. Raises Problem PC7031 when it leads nowhere."""
    found = TRANSITIONS.get((stage, verb))
    if found is None:
        said = stage.value.replace("_", " ")
        raise Problem("PC7031", f"{verb} does not apply to a release that is {said}")
    return found


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a release: ``folder/file.yaml`` and its text."""

    name: str
    text: str


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's yes. ``at`` is in seconds since the epoch."""

    by: str
    at: float
    note: str = ""


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A release without its text. Times are seconds since the epoch, 0 for never.

    ``digest`` is that of the policy as it was compiled when it came; a later version of the program
    may compile the same text to another. ``text`` is the digest of the files (``text_digest``), to
    which approvals bind. ``origin`` is ``folder`` for what the folder held and nobody proposed,
    ``operator`` for a proposal, ``bundle`` for what a bundle server had, whose revision is
    ``revision``. ``share`` is a canary's, in percent. ``reason`` is why it is at its stage, ``by``
    who put it there; nobody where it happened by itself.
    """

    number: int
    digest: str
    text: str
    origin: str
    proposed_by: str
    proposed_at: float
    note: str = ""
    revision: str = ""
    stage: Stage = Stage.PROPOSED
    share: int = 0
    approvals: tuple[Approval, ...] = ()
    by: str = ""
    reason: str = ""
    changed_at: float = 0.0
    active_at: float = 0.0


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What holds now: the active release, and the one in shadow or canary; None for none.

    ``back`` is what was active before the active one, to which rolling back leads. It leads one
    step back, not further: with ``restored`` the active release is what somebody went back to.
    """

    active: Release | None = None
    candidate: Release | None = None
    back: Release | None = None
    restored: bool = False

    def before(self) -> Release:
        """Where rolling the active release back leads. Raises Problem PC7025, PC7031."""
        if self.restored:
            raise Problem("PC7025", "what is active is already what somebody went back to")
        if self.back is None:
            raise Problem("PC7031", "there is no release to go back to")
        return self.back


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """What policy said to some sessions: how often it was asked, and how often it denied.

    ``share`` is the sum, over the ``sessions``, of each one's share of denials, from 0 to 1.
    """

    decisions: int = 0
    denials: int = 0
    sessions: int = 0
    share: float = 0.0


class Difference(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """What two policies say of the same calls. It holds no content.

    ``was`` is what the active one says: ``allow RISK`` or a code; ``now`` what the candidate does.
    ``name`` is the tool with its server, the model or the prompt, or else the kind of the call.
    """

    agent: str
    name: str
    was: str
    now: str


class Untested(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a policy that no canary tests, and what of it the candidate would change.

    ``part`` is ``unknown`` where it cannot be told; then the name is the code that says why.
    """

    part: str
    names: tuple[str, ...]


class Tallies(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted of a release in shadow or canary, in one process or all together.

    ``canary`` are the sessions for which it decided, ``rest`` the others. ``compared`` is how many
    calls both policies judged, ``dropped`` how many were too many to be. ``others`` are differences
    of kinds beyond ``MOST_DIFFERENCES``. ``hit`` are fingerprints of sessions that were denied what
    the active release would have allowed, or may have, at most ``MOST_HIT`` of a process.
    """

    canary: Arm = Arm()
    rest: Arm = Arm()
    compared: int = 0
    dropped: int = 0
    others: int = 0
    differences: dict[Difference, int] = {}
    hit: frozenset[str] = frozenset()


def text_digest(files: tuple[File, ...]) -> str:
    """``sha256:`` hex over names and texts, in the order of names; lengths keep them apart."""
    found = hashlib.sha256(b"portcullis/policy-release/v1\0")
    for file in sorted(files, key=lambda one: one.name):
        for part in (file.name.encode(), file.text.encode()):
            found.update(len(part).to_bytes(8, "big"))
            found.update(part)
    return f"sha256:{found.hexdigest()}"
