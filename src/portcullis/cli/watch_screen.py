"""What the view of what waits shows, and what a key does to it: no terminal in here.

Who decides names the call, not its place in a list that moves: a key acts on the call that is
chosen by its id, and a decision is on the id that stood on the screen when its reason was begun.
When the chosen call goes, no other is chosen in its place until a key is pressed that chooses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from rich.cells import cell_len, chop_cells

from portcullis.cli.approval_lines import tool_of
from portcullis.cli.audit_lines import clean
from portcullis.cli.terminal import PASTED
from portcullis.core.call import RiskClass

if TYPE_CHECKING:
    from portcullis.control.approvals_api import ApprovalView

LONGEST_REASON: Final = 200
NAME_WIDTH: Final = 13
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
    """The state of the view. ``press`` says what is wished; ``done`` is True after ``q``.

    ``chosen`` is "" when nothing is. ``top`` is the first line that is seen of a call, of those
    that ``folded`` has.
    """

    rows: tuple[ApprovalView, ...] = ()
    chosen: str = ""
    mode: Mode = Mode.LIST
    top: int = 0
    typed: str = ""
    said: str = ""
    done: bool = False
    _verb: Literal["approve", "deny"] = "deny"
    _target: ApprovalView | None = None
    _below: Mode = field(default=Mode.LIST)
    _lines: tuple[tuple[str, str], ...] = ()
    _folded: tuple[tuple[str, str], ...] = ()
    _width: int = 0
    _at: int = 0
    _begun: bool = False

    @property
    def place(self) -> int:
        """Where in the rows the chosen one is; where it was when nothing is chosen any more."""
        found = (at for at, one in enumerate(self.rows) if one.id == self.chosen)
        return next(found, max(0, min(self._at, len(self.rows) - 1)))

    @property
    def target(self) -> ApprovalView | None:
        """The call that is looked at or decided; in the list the one that is chosen."""
        if self.mode is not Mode.LIST:
            return self._target
        return next((one for one in self.rows if one.id == self.chosen), None)

    @property
    def verb(self) -> str:
        """What a reason is typed for."""
        return self._verb

    def update(self, rows: tuple[ApprovalView, ...]) -> None:
        """Show these; what was chosen stays so, or nothing is. Of the first, the first is."""
        self._at = self.place
        self.rows = rows
        if rows and not self._begun:
            self.chosen, self._begun = rows[0].id, True
        elif not any(one.id == self.chosen for one in rows):
            self.chosen = ""

    def show(self, lines: list[tuple[str, str]]) -> None:
        """Show a call as a whole."""
        self._target = self.target
        self._lines, self._folded, self._width = tuple(lines), (), 0
        self.top, self.mode = 0, Mode.SHOW

    def folded(self, width: int) -> tuple[tuple[str, str], ...]:
        """The call in lines that fit: a name, of at most ``NAME_WIDTH`` cells, and some text.

        It is folded once for a width; what is seen of it stays about where it was.
        """
        if width != self._width:
            before = max(1, len(self._folded))
            self._folded = tuple(_fold(self._lines, width))
            self.top = self.top * len(self._folded) // before
            self._width = width
        return self._folded

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
        target = self.target
        if key in {"a", "d", "enter"} and target is None:
            self.said = "nothing is chosen: j or k first" if self.rows else ""
        elif key == "q" and self.mode is Mode.LIST:
            self.done = True
        elif key in {"q", "escape"}:
            self.back()
        elif key in {"a", "d"} and target is not None:
            self._begin("approve" if key == "a" else "deny", target)
        elif key == "enter" and self.mode is Mode.LIST and target is not None:
            return Wish("show", target.id)
        else:
            self._move({"k": "up", "j": "down", " ": "pagedown"}.get(key, key))
        return None

    def _move(self, key: str) -> None:
        most = max(0, len(self._folded if self.mode is Mode.SHOW else self.rows) - 1)
        steps = {"up": -1, "down": 1, "pageup": -_PAGE, "pagedown": _PAGE}
        steps |= {"home": -most, "end": most}
        if key not in steps:
            return
        if self.mode is Mode.SHOW:
            self.top = min(most, max(0, self.top + steps[key]))
        elif self.rows:
            step = steps[key] if self.chosen or key in {"home", "end"} else 0
            self.chosen = self.rows[min(most, max(0, self.place + step))].id

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
        elif len(key) == 1 or key.startswith(PASTED):
            self.typed = (self.typed + key.removeprefix(PASTED))[:LONGEST_REASON]
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


def _fold(lines: tuple[tuple[str, str], ...], width: int) -> Iterator[tuple[str, str]]:
    """A name that is too long stands above its value, in as many lines as it takes."""
    room = max(8, width - NAME_WIDTH - 1)
    for name, value in lines:
        said = clean(name)
        if cell_len(said) >= NAME_WIDTH:
            yield from (("", part) for part in _chopped(f"{said}:", room))
            said = ""
        for part in _chopped(value, room):
            yield said, part
            said = ""


def _chopped(text: str, room: int) -> Iterator[str]:
    """In parts of so many cells; what takes none, such as accents, fills a line too."""
    for part in chop_cells(text, room) or [""]:
        yield from (part[at : at + 4 * room] for at in range(0, max(1, len(part)), 4 * room))
