"""The ports around alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from portcullis.core.alert import Alert, Found, Hears, Silence, Step, Verb, Wanted


class AlertStore(Protocol):
    """Alerts and silences, durable. Every method blocks and is one transaction.

    ``put`` takes what was raised and what is over, in order, and returns the alerts that are new
    and those that it ended; what is raised again is counted by the alert that there is. Never does
    it come under a quieter one, nor for long under one that somebody took on.
    ``places`` says, by log, how many entries what was raised comes from; ``taken`` gives that back.
    ``move`` returns what became of an alert; it raises Problem PC8020 where there is none, PC8021
    where the verb leads nowhere. ``page`` is newest first, those before the id ``before``.
    ``silences`` are those in force, by their end. ``unsilence`` says whether there was one.

    ``unheeded`` are alerts that nobody took on by the time of their next step, and no silence is
    about; ``escalate`` notes that so many steps were taken, and ``told`` that somebody is told
    therefore. ``quiet`` are those whose time has come to be over by themselves, and ``end`` ends
    one. Both return what became of it, or None when it was past that.
    """

    def put(self, found: Sequence[Found], places: Mapping[str, int]) -> tuple[Alert, ...]: ...
    def taken(self) -> dict[str, int]: ...
    def page(self, wanted: Wanted, before: str, limit: int) -> tuple[Alert, ...]: ...
    def get(self, alert: str) -> Alert | None: ...
    def move(self, alert: str, verb: Verb, *, by: str, reason: str) -> Alert: ...
    def silences(self) -> tuple[Silence, ...]: ...
    def silence(self, silence: Silence) -> None: ...
    def unsilence(self, silence: str) -> bool: ...
    def unheeded(self, steps: Sequence[Step]) -> tuple[Alert, ...]: ...
    def escalate(self, alert: str, steps: int, *, told: bool) -> Alert | None: ...
    def quiet(self) -> tuple[Alert, ...]: ...
    def end(self, alert: str, reason: str) -> Alert | None: ...


class AlertChanges(Protocol):
    """What a channel has not been told of alerts. It blocks.

    ``changes`` are alerts that the channel ``hears`` of and that are open, or that it follows, and
    of which something has become since it was told; the highest first, at most ``limit``. What
    ended by itself in the last hour, before the channel was told, is among them.
    """

    def changes(self, channel: str, hears: Sequence[Hears], limit: int) -> tuple[Alert, ...]: ...
