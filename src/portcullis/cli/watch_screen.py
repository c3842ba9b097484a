"""What the view of what waits shows, and what a key does to it: no terminal in here.

Who decides names the call, not its place in a list that moves: a key acts on the call that is
chosen by its id, and a decision is on the id that stood on the screen when its reason was begun.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from portcullis.cli.approval_lines import tool_of
from portcullis.core.call import RiskClass

if TYPE_CHECKING:
    from portcullis.control.approvals_api import ApprovalView

LONGEST_REASON: Final = 200
_PAGE: Final = 10


class Mode(StrEnum):
    """What keys mean now: in the list, in one call, a tool's name, a reason."""

    LIST = "list"
    SHOW = "show"
    NAME = "name"
    REASON = "reason"


class Wish(NamedTuple):
    """What the gate is asked for."""

    verb: Literal["show", "approve", "deny"]
    approval: str
    reason: str = ""


@dataclass(slots=True)
class Screen:
    """The state of the view. ``press`` says what is wished; ``done`` is True after ``q``."""

    rows: tuple[ApprovalView, ...] = ()
    chosen: str = ""
    mode: Mode = Mode.LIST
    lines: tuple[tuple[str, str], ...] = ()
    top: int = 0
    typed: str = ""
    said: str = ""
    done: bool = False
    _verb: Literal["approve", "deny"] = "deny"
    _target: ApprovalView | None = None
    _below: Mode = field(default=Mode.LIST)

    @property
    def place(self) -> int:
        """Where in the rows the chosen one is; 0 when it is not there."""
        return next((at for at, one in enumerate(self.rows) if one.id == self.chosen), 0)

    @property
    def target(self) -> ApprovalView | None:
        """The call that is looked at or decided; in the list the one that is chosen."""
        if self.mode is not Mode.LIST:
            return self._target
        return self.rows[self.place] if self.rows else None

    @property
    def verb(self) -> str:
        """What a reason is typed for."""
        return self._verb

    def update(self, rows: tuple[ApprovalView, ...]) -> None:
        """Show these; what was chosen stays so, or what stands in its place now is."""
        place = self.place
        self.rows = rows
        if not any(one.id == self.chosen for one in rows):
            self.chosen = rows[min(place, len(rows) - 1)].id if rows else ""

    def show(self, lines: list[tuple[str, str]]) -> None:
        """Show a call as a whole."""
        self._target = self.target
        self.lines, self.top, self.mode = tuple(lines), 0, Mode.SHOW

    def back(self, said: str = "") -> None:
        """To the list, with something to say."""
        self.mode, self.said, self.typed = Mode.LIST, said, ""
        self._target = None

    def decided(self, approval: str, state: str) -> None:
        """To the list, where this one waits no more."""
        self.back(f"{state}: {approval}")
        self.update(tuple(one for one in self.rows if one.id != approval))

    def press(self, key: str) -> Wish | None:
        """A key; what the gate is to be asked for, if anything."""
        self.said = ""
        if self.mode in {Mode.REASON, Mode.NAME}:
            return self._type(key)
        if key == "q" and self.mode is Mode.LIST:
            self.done = True
        elif key in {"q", "escape"}:
            self.back()
        elif key in {"a", "d"} and self.target is not None:
            self._begin("approve" if key == "a" else "deny", self.target)
        elif key == "enter" and self.mode is Mode.LIST and self.target is not None:
            return Wish("show", self.target.id)
        else:
            self._move({"k": "up", "j": "down", " ": "pagedown"}.get(key, key))
        return None

    def _move(self, key: str) -> None:
        most = max(0, len(self.lines if self.mode is Mode.SHOW else self.rows) - 1)
        steps = {"up": -1, "down": 1, "pageup": -_PAGE, "pagedown": _PAGE}
        steps |= {"home": -most, "end": most}
        at = self.top if self.mode is Mode.SHOW else self.place
        at = min(most, max(0, at + steps.get(key, 0)))
        if self.mode is Mode.SHOW:
            self.top = at
        elif self.rows:
            self.chosen = self.rows[at].id

    def _begin(self, verb: Literal["approve", "deny"], target: ApprovalView) -> None:
        self._below, self._verb, self._target, self.typed = self.mode, verb, target, ""
        named = verb == "approve" and target.risk == RiskClass.DELETE
        self.mode = Mode.NAME if named else Mode.REASON

    def _type(self, key: str) -> Wish | None:
        if key == "escape":
            self.mode, self.typed = self._below, ""
        elif key == "backspace":
            self.typed = self.typed[:-1]
        elif key == "clear":
            self.typed = ""
        elif key == "enter":
            return self._typed()
        elif len(key) == 1 and len(self.typed) < LONGEST_REASON:
            self.typed += key
        return None

    def _typed(self) -> Wish | None:
        target = self._target
        if target is None:
            return None
        if self.mode is Mode.NAME:
            if self.typed == tool_of(target):
                self.mode, self.typed = Mode.REASON, ""
            else:
                self.said = "that is not what it calls: type it as it stands, or escape"
            return None
        if not self.typed.strip():
            self.said = "say why, or escape"
            return None
        return Wish(self._verb, target.id, self.typed)
