"""What all steps of an incident have in common: their order, and a record before they act."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from msgspec.structs import replace

from portcullis.control.finishing import Finishing
from portcullis.control.incidents_acts import Acts, Facts, facts_of
from portcullis.control.incidents_parts import IncidentParts
from portcullis.control.records import Records
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.incident import Done, Incident, Playbook, Step, Subject, after
from portcullis.core.ports import Clock, Directory

_OUT: Final = {step: step for step in Step} | {
    Step.CONTAIN: Step.STAND_DOWN,
    Step.REINSTATE: Step.CLOSE,
}
"""What may be done instead of ending a step that has begun, when that cannot be."""


class Led:
    """Shows incidents, and begins and ends their steps. ``route`` is as in ``Principals``."""

    def __init__(
        self,
        parts: IncidentParts,
        acts: Acts,
        directory: Directory,
        records: Records,
        clock: Clock,
        new_id: Callable[[], str],
        route: str,
    ) -> None:
        self._parts = parts
        self._store = parts.store
        self._acts = acts
        self._directory = directory
        self._records = records
        self._clock = clock
        self._new_id = new_id
        self._route = route
        self._finish = Finishing()

    async def show(self, incident: str) -> Incident:
        """One incident. Raises Problem PC7060 where there is none."""
        found = await asyncio.to_thread(self._store.get, incident)
        if found is None:
            raise Problem("PC7060", "there is no incident of this id")
        return found

    async def of(self, subject: Subject) -> Incident | None:
        """The unresolved one about an agent or a session."""
        return await asyncio.to_thread(self._store.of, subject.name)

    @property
    def playbooks(self) -> tuple[Playbook, ...]:
        """All that can be followed, by name."""
        return tuple(one for _, one in sorted(self._parts.playbooks.items()))

    def playbook_of(self, incident: Incident) -> Playbook:
        """What is followed, as it was when the incident was opened."""
        return incident.plan or Playbook(name=incident.playbook, title=incident.playbook)

    def unticked(self, incident: Incident, step: Step) -> dict[str, str]:
        """What has to be ticked before a step is taken: texts by id."""
        done = {one.id for one in incident.ticked}
        wanted = self.playbook_of(incident).before(step)
        return {item: text for item, text in wanted.items() if item not in done}

    async def _at_once(
        self,
        context: Context,
        incident: str,
        step: Step,
        reason: str,
        act: Callable[[Context, Incident], Awaitable[Facts]],
        begin: Callable[[Incident], Awaitable[Incident]] | None = None,
    ) -> Incident:
        async def work() -> Incident:
            async with self._parts.turn(incident):
                found = await self._begun(context, incident, step, reason, begin)
                return await self._ended(context, found, step, await act(context, found))

        return await self._finish(work())

    async def _begun(
        self,
        context: Context,
        incident: str,
        step: Step,
        reason: str,
        begin: Callable[[Incident], Awaitable[Incident]] | None = None,
    ) -> Incident:
        """Have it on record, and written down, that a step begins; once, whoever says it again."""
        found = await self._expect(incident, step)
        if found.step(step) is not None:
            return found
        self._expect_ticked(found, step)
        await self._record(context, step.value, found, {"reason": reason})
        changed = found if begin is None else await begin(found)
        begun = Done(step=step, at=self._clock.now(), by=who(context), reason=reason)

        def change(one: Incident) -> Incident:
            after(one.phase, step)
            if one.step(step) is not None:  # another process was quicker
                return one
            return replace(one, steps=(*one.steps, begun), made=changed.made)

        return await self._change(incident, change)

    async def _ended(self, context: Context, found: Incident, step: Step, facts: Facts) -> Incident:
        """Have it on record, and written down, that all of a step has acted."""
        phase = after(found.phase, step)
        facts = facts_of(facts)
        said = {"step": step.value, "phase": phase.value, "facts": facts}
        await self._record(context, "done", found, said)
        now = self._clock.now()

        def change(one: Incident) -> Incident:
            after(one.phase, step)
            steps = tuple(
                replace(done, ended_at=now, facts=facts) if done.step is step else done
                for done in one.steps
            )
            until = now if step is Step.REVOKE else one.until
            return replace(one, steps=steps, phase=phase, until=until)

        return await self._change(found.id, change)

    async def _live(self, incident: str) -> Incident:
        """One that is not over. Raises Problem PC7060, PC7061."""
        found = await self.show(incident)
        if found.over:
            raise Problem("PC7061", f"the incident is {found.phase}; it is over")
        return found

    async def _expect(self, incident: str, step: Step) -> Incident:
        """The incident, if this step may be taken now. Raises Problem PC7060, PC7061."""
        found = await self.show(incident)
        after(found.phase, step)
        begun = found.steps[-1] if found.steps else None
        if begun is not None and not begun.ended_at and step not in {begun.step, _OUT[begun.step]}:
            raise Problem(
                "PC7061", f"{begun.step} has begun and has not ended; {begun.step} is due"
            )
        return found

    def _expect_ticked(self, found: Incident, step: Step) -> None:
        left = self.unticked(found, step)
        if left:
            said = "; ".join(f"{item}: {text}" for item, text in left.items())
            raise Problem("PC7064", f"tick before {step}: {said}")

    async def _change(self, incident: str, changed: Callable[[Incident], Incident]) -> Incident:
        return await asyncio.to_thread(self._store.change, incident, changed)

    async def _record(
        self, context: Context, verb: str, incident: Incident, said: dict[str, Any]
    ) -> None:
        await self._records.act(
            context,
            f"incident.{verb}",
            incident.id,
            route=self._route,
            parameters={"subject": incident.subject.name} | said,
        )


def who(context: Context) -> str:
    """Who does it, as records and incidents name him."""
    return f"{context.principal.kind}:{context.principal.id}"
