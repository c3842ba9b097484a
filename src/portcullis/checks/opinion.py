"""Opinion: what policy allows, other PDPs have to allow as well. They only ever narrow."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from portcullis.checks.authorize import on_behalf
from portcullis.core.call import Call, Context
from portcullis.core.check import Check
from portcullis.core.opinion_ports import SecondOpinion
from portcullis.core.verdict import PASS, Deny, Verdict


class Opinion(Check):
    """Stands behind ``authorize``: nobody is told of what policy refuses.

    Each PDP is asked about the caller and each agent on whose behalf it acts.
    """

    name: ClassVar[str] = "opinion"

    def __init__(self, opinions: Sequence[SecondOpinion]) -> None:
        self._opinions = tuple(opinions)

    async def prepare(self, call: Call, context: Context) -> object:
        """The names of those that say no. Raises Problem PC3037 when one says nothing."""
        asked = [one for one in self._opinions if call.action in one.actions]
        if not asked:
            return ()
        pairs = [(one, asker) for one in asked for asker in on_behalf(context)]
        said = await asyncio.gather(*(one.allows(call, asker) for one, asker in pairs))
        return tuple(one.name for (one, _), yes in zip(pairs, said, strict=True) if not yes)

    def judge(self, call: Call, context: Context, facts: object) -> Verdict:
        """Deny PC3036 when any of them says no."""
        del call, context
        if facts == ():
            return PASS
        if not isinstance(facts, tuple):
            return Deny(code="PC3037", reason="no second opinion was had")
        return Deny(code="PC3036", reason=f"the PDP {facts[0]} does not allow it")
