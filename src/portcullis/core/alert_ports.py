"""The ports around alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from portcullis.core.alert import Alert, Raised, Silence, Verb, Wanted


class AlertStore(Protocol):
    """Alerts and silences, durable. Every method blocks and is one transaction.

    ``put`` takes what was raised, in order, and returns the alerts that are new; what is raised
    again is counted by the alert that there is. ``places`` says, by log, how many entries what was
    raised comes from; ``taken`` gives that back. ``move`` returns what became of an alert; it
    raises Problem PC8020 where there is none, PC8021 where the verb leads nowhere. ``page`` is
    newest first, those before the id ``before``. ``silences`` are those in force, by their end.
    ``unsilence`` says whether there was one.
    """

    def put(self, raised: Sequence[Raised], places: Mapping[str, int]) -> tuple[Alert, ...]: ...
    def taken(self) -> dict[str, int]: ...
    def page(self, wanted: Wanted, before: str, limit: int) -> tuple[Alert, ...]: ...
    def get(self, alert: str) -> Alert | None: ...
    def move(self, alert: str, verb: Verb, *, by: str, reason: str) -> Alert: ...
    def silences(self) -> tuple[Silence, ...]: ...
    def silence(self, silence: Silence) -> None: ...
    def unsilence(self, silence: str) -> bool: ...


class AlertChanges(Protocol):
    """What a channel has not been told of alerts. It blocks.

    ``changes`` are alerts of ``least`` rank or higher that are open, or that the channel follows,
    and of which something has become since it was told; the highest first, at most ``limit``.
    """

    def changes(self, channel: str, least: int, limit: int) -> tuple[Alert, ...]: ...
