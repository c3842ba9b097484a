"""Playbooks: what is to be thought of at each step of an incident. From YAML, strict.

::

    version: 1
    playbook: hostile-agent
    title: An agent acts against us
    contain: kill
    probation: {days: 14, factor: 0.5}
    steps:
      contain:
        guidance: Its calls end at once, everywhere.
      revoke:
        guidance: Nothing that it held is good any more.
        checklist:
          owner-told: Its owner knows that it is off
      rotate: ...
      reaudit: ...
      reinstate: ...

The five steps stand there in their order, all of them: a playbook adds to what has to be done and
takes nothing away. Every fault is reported with its line.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final, get_args

import yaml

from portcullis.core.errors import Problem
from portcullis.core.incident import ORDER, Containing, Playbook, PlaybookStep
from portcullis.oversight.alerts.builtin import sources
from portcullis.policy.source import Faults, SourceFile
from portcullis.policy.yaml import Reader

_NAME: Final = r"[a-z][a-z0-9-]{0,62}"
_FORM: Final = "a name of a-z, 0-9 and -"
_TEXT: Final = r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,200}"
_LONG: Final = r"[^\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]{1,2000}"
_TOP: Final = ("version", "playbook", "title", "contain", "probation", "steps")
_STEP: Final = ("guidance", "checklist")
_ITEMS: Final = 20
_LONGEST_DAYS: Final = 366


@cache
def builtin() -> dict[str, Playbook]:
    """The built-in playbooks, by name."""
    folder = resources.files(__package__).joinpath("playbooks")
    files = sorted(one.name for one in folder.iterdir() if one.name.endswith(".yaml"))
    texts = (SourceFile(name, folder.joinpath(name).read_text(encoding="utf-8")) for name in files)
    return load(tuple(texts))


def playbooks(folder: Path | None) -> dict[str, Playbook]:
    """The built-in ones and those of a folder, which take the place of ones of the same name.

    Raises Problem PC7002 with every fault and its line.
    """
    return dict(builtin()) | ({} if folder is None else load(sources(folder)))


def load(files: tuple[SourceFile, ...]) -> dict[str, Playbook]:
    """The playbooks of these files, one of each. Raises Problem PC7002 with every fault."""
    faults = Faults(files)
    found: dict[str, Playbook] = {}
    for file in files:
        reader = Reader(file, faults)
        root = reader.root()
        if root is None:
            continue
        one = _File(reader, root).read()
        if one.name in found:
            reader.fault(root, f"{one.name} is another file's playbook, too")
        found[one.name] = one
    faults.raise_any()
    return found


class _File:
    def __init__(self, reader: Reader, root: yaml.Node) -> None:
        self._reader = reader
        self._root = root
        self._parts = reader.section(root, "the file", _TOP)

    def read(self) -> Playbook:
        """The playbook; where something is wrong with it, a fault is noted."""
        reader, version = self._reader, self._parts.get("version")
        if version is None or reader.value(version, "version") != 1:
            reader.fault(version or self._root, "version must be 1", "Start with `version: 1`.")
        days, factor = self._probation()
        return Playbook(
            name=self._text("playbook", _NAME, _FORM),
            title=self._text("title", _TEXT, "one line of at most 200 characters"),
            containing=self._containing(),
            days=days,
            factor=factor,
            steps=self._steps(),
        )

    def _text(self, key: str, pattern: str, form: str) -> str:
        node = self._parts.get(key)
        if node is None:
            self._reader.fault(self._root, f"there is no {key}")
            return ""
        entry = self._reader.text(node, key, pattern, form)
        return entry.value if entry else ""

    def _containing(self) -> Containing:
        node = self._parts.get("contain")
        value = "kill" if node is None else self._reader.value(node, "contain")
        for known in get_args(Containing):
            if value == known:
                found: Containing = known
                return found
        self._reader.fault(node or self._root, "contain: kill or quarantine")
        return "kill"

    def _probation(self) -> tuple[int, float]:
        node = self._parts.get("probation")
        if node is None:
            return Playbook.DAYS, Playbook.FACTOR
        parts = self._reader.section(node, "probation", ("days", "factor"))
        read = self._reader.value
        days = read(parts["days"], "days") if "days" in parts else Playbook.DAYS
        factor = read(parts["factor"], "factor") if "factor" in parts else Playbook.FACTOR
        if type(days) is not int or not 0 < days <= _LONGEST_DAYS:
            self._reader.fault(node, f"probation.days: a number from 1 to {_LONGEST_DAYS}")
            days = Playbook.DAYS
        if type(factor) not in {int, float} or not 0 < factor <= 1:
            self._reader.fault(node, "probation.factor: a number above 0, at most 1")
            factor = Playbook.FACTOR
        return days, float(factor)

    def _steps(self) -> tuple[PlaybookStep, ...]:
        node = self._parts.get("steps")
        if node is None:
            self._reader.fault(self._root, "there are no steps", f"All five: {_ALL}.")
            return ()
        named = [name.value for name, _ in self._reader.pairs(node, "steps")]
        parts = self._reader.section(node, "steps", [one.value for one in ORDER])
        if named != [one.value for one in ORDER]:
            hint = f"A playbook has all of {_ALL}, in this order."
            self._reader.fault(node, "steps are left out, or in another order", hint)
        return tuple(self._step(one.value, parts[one.value]) for one in ORDER if one.value in parts)

    def _step(self, name: str, node: yaml.Node) -> PlaybookStep:
        path = f"steps.{name}"
        parts = self._reader.section(node, path, _STEP)
        guidance = ""
        if "guidance" in parts:
            entry = self._reader.text(
                parts["guidance"], f"{path}.guidance", _LONG, "a text of at most 2000 characters"
            )
            guidance = entry.value.strip() if entry else ""
        checklist: dict[str, str] = {}
        items = parts.get("checklist")
        for item, said in self._reader.pairs(items, f"{path}.checklist") if items else ():
            self._reader.match(item, f"{path}.checklist", _NAME, _FORM)
            text = self._reader.text(said, f"{path}.{item.value}", _TEXT, "one line")
            checklist[f"{name}.{item.value}"] = text.value if text else ""
        if items is not None and len(checklist) > _ITEMS:
            self._reader.fault(items, f"{path}.checklist: at most {_ITEMS} items")
        return PlaybookStep(step=name, guidance=guidance, checklist=checklist)


_ALL: Final = ", ".join(ORDER)


def named(found: dict[str, Playbook], name: str) -> Playbook:
    """One of them. Raises Problem PC7066 where there is none of this name."""
    one = found.get(name)
    if one is None:
        raise Problem("PC7066", f"there is no playbook {name}; there are {', '.join(found)}")
    return one
