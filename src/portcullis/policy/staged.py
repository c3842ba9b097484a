"""A PDP with a candidate beside the policy in force: in its shadow, or for some of the sessions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from portcullis.core.call import Call, Context
from portcullis.core.containment import Containment
from portcullis.core.inspection import Profile
from portcullis.core.release import Tallies
from portcullis.core.verdict import Allow, Deny
from portcullis.policy.comparing import Comparing, Decide
from portcullis.policy.pdp import RegoPdp
from portcullis.policy.weighing import Weighing

_PARTS: Final = 10_000
"""Into how many parts sessions fall: a hundredth of a percent each."""


class Staged:
    """A candidate at work. ``share`` is in percent of the sessions; 0 is a shadow.

    Which sessions are a canary's goes by a hash of ``salt`` and the session's id: the same at every
    gateway, and other ones for another candidate. A call without a session is never one.
    ``close`` ends it.
    """

    def __init__(self, candidate: RegoPdp, active: Decide, *, share: int, salt: str) -> None:
        self.candidate = candidate
        self.share = share
        self._parts = share * _PARTS // 100
        self._salt = salt.encode() + b"\0"
        self._canary, self._rest = Weighing(), Weighing()
        self._comparing = Comparing(active, reverse=True) if share else Comparing(candidate.decide)

    def chosen(self, context: Context) -> bool:
        """Whether the candidate decides for this session."""
        session = context.session
        if not self._parts or session is None:
            return False
        found = hashlib.blake2b(self._salt + session.id.encode(), digest_size=4).digest()
        return int.from_bytes(found, "big") % _PARTS < self._parts

    def decide(self, active: Decide, call: Call, context: Context) -> Allow | Deny:
        """Judge a call by whichever is to decide, and count it."""
        if not self.share:
            verdict = active(call, context)
            self._comparing.put(call, context, verdict)
            return verdict
        if context.session is None:
            return active(call, context)  # no canary ever has such: they say nothing about one
        if self.chosen(context):
            verdict, side = self.candidate.decide(call, context), self._canary
            self._comparing.put(call, context, verdict)
        else:
            verdict, side = active(call, context), self._rest
        side.count(context.session.id, denied=isinstance(verdict, Deny))
        return verdict

    def tallies(self) -> Tallies:
        """What was counted until now, in this process."""
        found = self._comparing.counted()
        return msgspec.structs.replace(found, canary=self._canary.arm(), rest=self._rest.arm())

    def close(self) -> None:
        """Compare nothing more. Blocks for one decision at most."""
        self._comparing.close()


class StagedPdp(RegoPdp):
    """Decides by the policy in force and, for sessions of a canary, by the candidate.

    A session sees one policy: its decisions, what it is shown and what is done with what is found
    are of the same one, and each verdict carries that one's digest. What holds for all sessions
    together (limits, what tools mean, quarantine, the fragments of schemas) is the policy's that is
    in force.
    """

    _staged: Staged | None = None

    @property
    def staged(self) -> Staged | None:
        """The candidate at work, if any."""
        return self._staged

    def stage(self, staged: Staged | None) -> None:
        """Put a candidate to work, or none; the caller closes the one before."""
        self._staged = staged

    def decide(self, call: Call, context: Context) -> Allow | Deny:
        """See RegoPdp."""
        staged = self._staged
        if staged is None:
            return super().decide(call, context)
        return staged.decide(super().decide, call, context)

    def visible(
        self, kind: str, server: str, names: Sequence[str], context: Context
    ) -> frozenset[str]:
        """See RegoPdp."""
        staged = self._staged
        if staged is not None and staged.chosen(context):
            return staged.candidate.visible(kind, server, names, context)
        return super().visible(kind, server, names, context)

    def containment(self, context: Context) -> Containment | None:
        """See RegoPdp."""
        staged = self._staged
        if staged is not None and staged.chosen(context):
            return staged.candidate.containment(context)
        return super().containment(context)

    def masks(self, server: str, context: Context) -> bool:
        """See RegoPdp: either of the two policies may."""
        staged = self._staged
        found = super().masks(server, context)
        return found or (staged is not None and staged.candidate.masks(server, context))

    def lasting(self, context: Context) -> bool:
        """See RegoPdp: whichever of the two decides."""
        staged = self._staged
        if staged is not None and staged.chosen(context):
            return staged.candidate.lasting(context)
        return super().lasting(context)

    def profile(self, context: Context) -> Profile:
        """See RegoPdp."""
        staged = self._staged
        if staged is not None and staged.chosen(context):
            return staged.candidate.profile(context)
        return super().profile(context)

    def question(self, call: Call, context: Context) -> bytes:
        """See RegoPdp."""
        staged = self._staged
        if staged is not None and staged.chosen(context):
            return staged.candidate.question(call, context)
        return super().question(call, context)

    def judged_by_force(self, call: Call, context: Context) -> Allow | Deny:
        """What the policy in force says, whoever decides for the session."""
        return super().decide(call, context)
