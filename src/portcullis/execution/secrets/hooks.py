"""What rotates secrets at their source, where no program of the operator's does."""

from __future__ import annotations

import asyncio
from typing import Final

from portcullis.core.errors import Problem
from portcullis.core.secret_ports import RemoteSource
from portcullis.execution.secrets.aws import AwsSecrets

_LOOKS: Final = 20
_LOOK_SECONDS: Final = 0.5


class LeasedHook:
    """Rotates what a server leases: whoever asks anew gets another, and the old one is revoked.

    Problem PC7070 for what comes without a lease: nobody but its owner can make it another.
    """

    def __init__(self, source: RemoteSource) -> None:
        self._source = source

    async def rotate(self, reference: str) -> None:
        """See RotationHook."""
        rest = reference.partition(":")[2]
        if not await asyncio.to_thread(self._leased, rest):
            raise Problem("PC7070", "it is not leased, and nothing under incidents.rotation does")

    def _leased(self, rest: str) -> bool:
        self._source.resolve(rest)
        return self._source.leased(rest)


class AwsHook:
    """Has AWS Secrets Manager rotate by the function that it has for the secret, and waits."""

    def __init__(self, source: AwsSecrets) -> None:
        self._source = source

    async def rotate(self, reference: str) -> None:
        """See RotationHook. Problem PC7072 when nothing changed in time."""
        rest = reference.partition(":")[2]
        before = await asyncio.to_thread(self._source.resolve, rest)
        await asyncio.to_thread(self._source.rotate, rest)
        for _ in range(_LOOKS):
            self._source.forget(rest)
            if await asyncio.to_thread(self._source.resolve, rest) != before:
                return
            await asyncio.sleep(_LOOK_SECONDS)
        raise Problem("PC7072", "the service said yes, and it is as it was before")
