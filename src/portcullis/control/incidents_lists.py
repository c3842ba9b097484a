"""The two steps that are lists: credentials to be seen to, and findings to be judged."""

from __future__ import annotations

from msgspec.structs import replace

from portcullis.control.incidents_acts import Facts
from portcullis.control.incidents_led import Led, who
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.incident import Credential, Incident, Judged, Step, Verdict, digest_of


class Listed(Led):
    """Each list is drawn once and then fixed; its step ends with the last of it."""

    async def rotate(self, context: Context, incident: str, reason: str) -> Incident:
        """List the credentials that it had access to; the step ends when all are settled."""
        async with self._parts.turn(incident):
            found = await self._begun(context, incident, Step.ROTATE, reason)
            if found.credentials is None:
                some = await self._parts.rotations.access(found.subject, found.since)
                listed = tuple(Credential(access=one) for one in some)
                found = await self._change(incident, lambda one: replace(one, credentials=listed))
            return await self._rotated(context, found)

    async def rotate_one(
        self, context: Context, incident: str, reference: str, reason: str
    ) -> Incident:
        """Have one of these rotated, and see that it is another; that can take its time.

        What came of it stands in the incident, also when it failed. Raises Problem PC7065.
        """
        return await self._finish(self._rotate_one(context, incident, reference, reason))

    async def _rotate_one(
        self, context: Context, incident: str, reference: str, reason: str
    ) -> Incident:
        async with self._parts.turn(incident):
            found, credential = await self._credential(incident, reference)
            if credential.settled:
                return await self._rotated(context, found)
            said = {"reference": reference, "how": "rotate", "reason": reason}
            await self._record(context, "credential", found, said)
            done = await self._parts.rotations.rotate(reference)
            what: Facts = {
                "reference": reference,
                "rotated": done.rotated,
                "verified": done.verified,
            }
            await self._record(
                context, "rotated", found, what | ({"fault": done.fault} if done.fault else {})
            )
            new = replace(credential, rotated=done, by=who(context), at=self._clock.now())
            return await self._rotated(context, await self._put_credential(incident, new))

    async def settle(
        self, context: Context, incident: str, reference: str, reason: str
    ) -> Incident:
        """Say what is done about one of these by hand. Raises Problem PC7065."""
        async with self._parts.turn(incident):
            found, credential = await self._credential(incident, reference)
            said = {"reference": reference, "how": "by_hand", "reason": reason}
            await self._record(context, "credential", found, said)
            new = replace(credential, reason=reason, by=who(context), at=self._clock.now())
            return await self._rotated(context, await self._put_credential(incident, new))

    async def reaudit(self, context: Context, incident: str, reason: str) -> Incident:
        """List what its history says; the step ends when somebody has judged each finding."""
        async with self._parts.turn(incident):
            found = await self._begun(context, incident, Step.REAUDIT, reason)
            if found.findings is None:
                until = found.until or self._clock.now()
                drawn = await self._parts.findings.draw(found.subject, found.since, until)
                if drawn.digest != digest_of(drawn.findings):
                    raise Problem("PC9002", "the findings are not those of their digest")
                listed = tuple(Judged(finding=one) for one in drawn.findings)
                found = await self._change(
                    incident,
                    lambda one: replace(
                        one, findings=listed, digest=drawn.digest, sizes=drawn.sizes
                    ),
                )
            return await self._audited(context, found)

    async def judge(
        self, context: Context, incident: str, finding: str, verdict: Verdict, reason: str
    ) -> Incident:
        """Say what a finding was; as long as the step is not over, also otherwise. PC7065."""
        async with self._parts.turn(incident):
            found = await self._expect(incident, Step.REAUDIT)
            known = {one.finding.id: one for one in found.findings or ()}
            if finding not in known:
                raise Problem("PC7065", f"there is no finding {finding} in its list")
            said = {"finding": finding, "verdict": verdict, "reason": reason}
            await self._record(context, "finding", found, said | {"digest": found.digest})
            new = Judged(
                finding=known[finding].finding,
                verdict=verdict,
                by=who(context),
                reason=reason,
                at=self._clock.now(),
            )

            def judged(one: Incident) -> Incident:
                all_of_it = (
                    new if old.finding.id == finding else old for old in one.findings or ()
                )
                return replace(one, findings=tuple(all_of_it))

            return await self._audited(context, await self._change(incident, judged))

    async def _rotated(self, context: Context, found: Incident) -> Incident:
        """The step's end, when nothing is left of its list."""
        if found.credentials is None or found.unsettled:
            return found
        verified = sum(
            one.rotated is not None and one.rotated.verified for one in found.credentials
        )
        facts = {"credentials": len(found.credentials), "rotated": verified}
        return await self._ended(context, found, Step.ROTATE, facts)

    async def _audited(self, context: Context, found: Incident) -> Incident:
        if found.findings is None or found.unjudged:
            return found
        counts: Facts = {"findings": len(found.findings), "digest": found.digest}
        for one in found.findings:
            counts[str(one.verdict)] = counts.get(str(one.verdict), 0) + 1
        return await self._ended(context, found, Step.REAUDIT, counts)

    async def _credential(self, incident: str, reference: str) -> tuple[Incident, Credential]:
        found = await self._expect(incident, Step.ROTATE)
        for one in found.credentials or ():
            if one.access.reference == reference:
                return found, one
        raise Problem("PC7065", f"there is no credential {reference} in its list")

    async def _put_credential(self, incident: str, new: Credential) -> Incident:
        def put(one: Incident) -> Incident:
            reference = new.access.reference
            listed = (
                new if old.access.reference == reference else old for old in one.credentials or ()
            )
            return replace(one, credentials=tuple(listed))

        return await self._change(incident, put)
