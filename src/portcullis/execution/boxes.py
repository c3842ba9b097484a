"""Boxes for tools: the sandbox of the configuration, and its profiles by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from portcullis.core.errors import Problem
from portcullis.core.sandbox import Order, Profile, Streams
from portcullis.core.sandbox_ports import Box, Sandbox
from portcullis.execution.sandbox.pool import Pool, Recipe

Claimed: TypeAlias = Callable[[str, Box], None]
"""Told of each use of a box that was ready, before anything runs in it; see ``Pool``."""


class Boxes:
    """``sandbox`` makes them and puts each on record; ``profiles`` are the configuration's."""

    def __init__(
        self,
        sandbox: Sandbox,
        profiles: Mapping[str, Profile],
        claimed: Claimed = lambda _title, _box: None,
    ) -> None:
        self._sandbox = sandbox
        self._profiles = dict(profiles)
        self._claimed = claimed

    def profile(self, name: str) -> Profile:
        """The profile of this name; Problem PC5040 where there is none."""
        found = self._profiles.get(name)
        if found is None:
            raise Problem("PC5040", f"there is no profile {name}")
        return found

    async def start(self, order: Order, streams: Streams) -> Box:
        """Make a box; the Problems of ``Sandbox.start``. Must not be cancelled half-way."""
        return await self._sandbox.start(order, streams)

    def pool(self, recipe: Recipe, size: int) -> Pool:
        """Boxes that are ready before anybody asks."""
        return Pool(self._sandbox, recipe, size, claimed=self._claimed)
