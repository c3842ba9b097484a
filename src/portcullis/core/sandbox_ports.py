"""The port behind which every kind of sandbox stands."""

from __future__ import annotations

from typing import Protocol

from portcullis.core.sandbox import Ability, Ended, Hold, Order, Streams


class Box(Protocol):
    """What runs. ``enforced`` is what really holds it: it goes on record.

    ``pid`` is the process of ours that stands for it (0 where there is none on this machine).
    ``scratch`` is a descriptor of its /scratch, through which what it left can be read after it has
    ended and until ``close``; None where there is none on this machine.
    ``wait`` returns how it ended, also to the second that asks. ``kill`` ends every process in it
    and returns when they are gone; it never raises and may be called twice. ``close`` kills it
    and takes away whatever was made for it (control groups, directories).
    """

    @property
    def pid(self) -> int: ...
    @property
    def enforced(self) -> frozenset[Hold]: ...
    @property
    def scratch(self) -> int | None: ...
    async def wait(self) -> Ended: ...
    async def kill(self) -> None: ...
    async def close(self) -> None: ...


class Sandbox(Protocol):
    """One way to make boxes.

    ``probe`` tries what this machine can enforce (it blocks, and is remembered). ``start`` raises
    Problem PC5030 when the profile demands what ``probe`` does not find, before anything runs;
    PC5031 when the box could not be made; PC5032 for an order that cannot be (a mount that is not
    there, an argv that is empty). Nothing but the streams is inherited: no descriptor, no variable.
    A box outlives nothing: when this process dies, so does all that is in it.
    """

    @property
    def name(self) -> str: ...
    def probe(self) -> Ability: ...
    async def start(self, order: Order, streams: Streams) -> Box: ...
