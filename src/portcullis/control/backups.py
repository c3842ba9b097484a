"""What a deployment records of its backups: that one is about to be made, and what it came to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from portcullis.control.records import Records
from portcullis.core.call import Context

CREATE: Final = "backup.create"
CREATED: Final = "backup.created"


class Begun(msgspec.Struct, frozen=True):
    """A backup that was recorded: its id, and how many entries the log then has."""

    id: str
    size: int


class Backups:
    """Records them; ``size`` is how many entries the log has.

    The copying is done by whoever can read the state directory.
    """

    def __init__(
        self, records: Records, size: Callable[[], int], new_id: Callable[[], str], route: str
    ) -> None:
        self._records = records
        self._size = size
        self._new_id = new_id
        self._route = route

    async def begin(
        self, context: Context, recipients: Sequence[str], reason: str, *, root_key: bool
    ) -> Begun:
        """Record durably that all there is will be copied for these recipients' keys."""
        backup = self._new_id()
        said = {"recipients": list(recipients), "reason": reason, "root_key": root_key}
        await self._records.act(context, CREATE, backup, route=self._route, parameters=said)
        return Begun(backup, self._size())

    async def made(self, context: Context, backup: str, digest: str, size: int) -> None:
        """Record what was made: the SHA-256 of the file, in hex, and its bytes."""
        said = {"digest": digest, "bytes": size}
        await self._records.act(context, CREATED, backup, route=self._route, parameters=said)
