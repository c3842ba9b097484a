"""Two policies on the same calls, off the calls' way: what differs is counted, without content."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Final

import msgspec

from portcullis.core.call import Action, Call, Context
from portcullis.core.release import MOST_DIFFERENCES, MOST_HIT, Difference, Tallies
from portcullis.core.verdict import Allow, Deny
from portcullis.policy.weighing import fingerprint

MOST_WAITING: Final = 1024
"""Calls that wait to be compared; what comes on top is dropped, and counted."""
LARGEST: Final = 65_536
"""The longest body of a call, in bytes, that may wait; a longer one is dropped, and counted."""
_JOIN_SECONDS: Final = 5.0
_WIDTH: Final = 256
_NAMED: Final = frozenset({Action.TOOL, Action.PROMPT})
_SAID: Final = frozenset({"allow", "rule", "reason", "policy"})
"""What may differ between two verdicts that come to the same."""

Decide = Callable[[Call, Context], Allow | Deny]


class Comparing:
    """Asks ``decide``, on a thread of its own, about calls on which somebody has decided.

    ``put`` takes microseconds and never waits. With ``reverse`` what ``decide`` says is what was,
    and the given verdict is what is now. ``close`` ends the thread.
    """

    def __init__(self, decide: Decide, *, reverse: bool = False) -> None:
        self._decide = decide
        self._reverse = reverse
        self._waiting: queue.Queue[tuple[Call, Context, Allow | Deny] | None] = queue.Queue(
            MOST_WAITING
        )
        self._lock = threading.Lock()
        self._found: dict[Difference, int] = {}
        self._hit: set[str] = set()
        self._compared = self._dropped = self._others = 0
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="policy-comparing", daemon=True)
        self._thread.start()

    def put(self, call: Call, context: Context, verdict: Allow | Deny) -> None:
        """Have a call judged by the other policy, too; or drop it."""
        if len(call.body) <= LARGEST:
            with contextlib.suppress(queue.Full):
                self._waiting.put_nowait((call, context, verdict))
                return
        self._dropped += 1
        if self._reverse and isinstance(verdict, Deny):  # nobody knows whose doing that is
            with self._lock:
                self._note(context)

    def counted(self) -> Tallies:
        """What was compared until now; nothing of either side."""
        with self._lock:
            return Tallies(
                compared=self._compared,
                dropped=self._dropped,
                others=self._others,
                differences=dict(self._found),
                hit=frozenset(self._hit),
            )

    def close(self) -> None:
        """End. What waits is not compared any more. Blocks for one decision at most."""
        self._ended = True
        with contextlib.suppress(queue.Full):  # whatever is taken from it next sees the end
            self._waiting.put_nowait(None)
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        while True:
            item = self._waiting.get()
            if item is None or self._ended:
                return
            call, context, verdict = item
            other = self._decide(call, context)
            was, now = (other, verdict) if self._reverse else (verdict, other)
            said = _labels(was, now)
            with self._lock:
                self._compared += 1
                if isinstance(was, Allow) and isinstance(now, Deny):
                    self._note(context)
                if said is not None:
                    self._count(
                        Difference(
                            agent=context.principal.id,
                            name=named(call)[:_WIDTH],
                            was=said[0],
                            now=said[1],
                        )
                    )

    def _note(self, context: Context) -> None:
        if context.session is not None and len(self._hit) < MOST_HIT:
            self._hit.add(fingerprint(context.session.id))

    def _count(self, difference: Difference) -> None:
        if difference in self._found or len(self._found) < MOST_DIFFERENCES:
            self._found[difference] = self._found.get(difference, 0) + 1
        else:
            self._others += 1


def named(call: Call) -> str:
    """A call by its tool or prompt with the server, its model, or else by its kind and server."""
    if call.action in _NAMED:
        return f"{call.server}.{call.name}"
    if call.action is Action.MODEL:
        return call.name
    return f"{call.action.value} {call.server}".strip()


def _labels(was: Allow | Deny, now: Allow | Deny) -> tuple[str, str] | None:
    """What each says, in a word or two; None when they come to the same."""
    first, second = _label(was), _label(now)
    if first != second:
        return first, second
    if isinstance(was, Allow) and isinstance(now, Allow) and _rest(was) != _rest(now):
        return first, f"{second}, on other terms"
    return None


def _label(verdict: Allow | Deny) -> str:
    return f"allow {verdict.risk}" if isinstance(verdict, Allow) else verdict.code


def _rest(verdict: Allow) -> dict[str, object]:
    fields = msgspec.structs.asdict(verdict)
    return {name: value for name, value in fields.items() if name not in _SAID}
