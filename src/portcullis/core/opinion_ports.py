"""The port of a second opinion: a PDP of somebody else, asked besides the policy in force."""

from __future__ import annotations

from typing import Protocol

from portcullis.core.call import Action, Call, Context


class SecondOpinion(Protocol):
    """``name`` is its name in the configuration, ``actions`` are those that it is asked about.

    ``allows`` returns within the time that it was given. It raises Problem PC3037 for whatever is
    not an answer: a late one, an error, another shape.
    """

    @property
    def name(self) -> str: ...
    @property
    def actions(self) -> frozenset[Action]: ...
    async def allows(self, call: Call, context: Context) -> bool: ...


class Inputs(Protocol):
    """``question`` is the input document (JSON) that the policy in force is asked with."""

    def question(self, call: Call, context: Context) -> bytes: ...
