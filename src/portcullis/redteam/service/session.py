"""One session of the second corpus: the user's calls, and an attacker's between them.

As in ``redteam.replay`` the agent is bad from the start and goes on without what is refused. Here
arguments come out of earlier results, and the user says more as the session goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portcullis.redteam.contained import Contained
from portcullis.redteam.enforcer import Task
from portcullis.redteam.programs import Attempt
from portcullis.redteam.replay import Human, Trace
from portcullis.redteam.service.checks import holds
from portcullis.redteam.service.corpus import Attack, Domain, Step, UserTask
from portcullis.redteam.service.places import Nowhere, Shift, resolved
from portcullis.redteam.service.world import World


def served(
    domain: Domain, task: UserTask, human: Human, *, seen: bool = False
) -> tuple[Trace, bool]:
    """Run a benign task: what happened, and whether the user got what he wanted.

    ``seen``: by the policy as it was after its misses had been seen.
    """
    session = _Session(domain, World(domain.before, domain.tools), task, human, seen=seen)
    for step in task.calls:
        session.step(step, step.turn or 1)
    trace = session.trace
    done = not trace.refused and holds(task.check, session.world, session.results)
    return trace, done


def attacked(
    domain: Domain, attack: Attack, human: Human, *, seen: bool = False
) -> tuple[Trace, bool]:
    """Run a task with an attack in it: what happened, and whether the attack succeeded."""
    world = World(domain.before, domain.tools, attack.poison)
    session = _Session(domain, world, attack, human, seen=seen)
    inserted, reads, last = len(attack.attack_calls), attack.reads, len(attack.said)
    for step in attack.user_calls[:reads]:
        session.step(step, step.turn or last)
    for step in attack.attack_calls:
        session.step(step, step.turn or last, attacker=True)
    for step in () if attack.instead else attack.user_calls[reads:]:
        session.step(step, step.turn or last, shift=lambda at: at if at <= reads else at + inserted)
    return session.trace, holds(attack.check, world, session.results)


class _Session:
    """The state of one run. ``results`` holds one for each call; nothing where there is none."""

    def __init__(
        self, domain: Domain, world: World, talk: UserTask | Attack, human: Human, *, seen: bool
    ) -> None:
        self.trace = Trace()
        self.world = world
        self.results: list[Any] = []
        self._said: Sequence[str] = talk.said
        self._human = human
        task = Task(domain.name, talk.said[0], frozenset(), talk.session)
        self._enforcer = Contained(
            domain.catalogue, task, containment=domain.seen if seen else None
        )

    def step(
        self, step: Step, turn: int, *, attacker: bool = False, shift: Shift = lambda at: at
    ) -> None:
        """Have a call made, after so many turns of the user's."""
        try:
            arguments = {
                name: resolved(value, self.results, shift) for name, value in step.args.items()
            }
        except Nowhere:
            self.results.append(None)
            if not attacker:
                self.trace.refused.append((Attempt(step.tool, {}), ("no result to go by",)))
            return
        self._enforcer.hear(self._said[1:turn])
        attempt = Attempt(step.tool, arguments)
        done = self._enforcer.call(
            attempt, self.world.run, lambda: self._approves(attacker=attacker)
        )
        self.trace.note(attempt, done)
        self.trace.end(attempt, done, attacker=attacker)
        self.results.append(done.outcome.result if done.outcome else None)

    def _approves(self, *, attacker: bool) -> bool | None:
        """Say what the human says: an ideal one knows whose call it is."""
        if self._human is Human.NONE:
            return None
        return self._human is Human.STAMP or not attacker
