"""A policy's files as plain trees with places: what coverage counts and mutants change."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import yaml

from portcullis.policy.source import Faults, Place, SourceFile
from portcullis.policy.yaml import Reader

Steps: TypeAlias = tuple[str | int, ...]

REGO: Final = ".rego"
_PACKAGE: Final = re.compile(r"^package portcullis\.custom\.(\w+)", re.MULTILINE)
_DENIAL: Final = re.compile(r"(\s*)deny\s+contains\b")
GRANTS: Final = (
    "permissions",
    "allowed_tools",
    "models",
    "provider_features",
    "allowed_resources",
    "allowed_prompts",
    "server_requests",
    "egress",
)
"""The lists of a role that grant; each of their entries is a name, or a mapping that has it."""
BOUNDS: Final = ("required", "equals", "enum", "prefix", "maximum", "minimum", "max_length")
CONDITIONS: Final = ("when", "during", "environments", "until")
"""What may stand beside a grant's name and makes it good for less."""
_NAMES: Final = ("tool", "model", "feature", "resource", "prompt", "request", "host")
"""By which key a mapping names what it grants, or denies."""
BESIDE: Final = (*CONDITIONS, "obligations", "reason")


@dataclass(frozen=True, slots=True)
class Part:
    """A node of a file: its value in Python's types, where it stands, and how to get there."""

    file: int
    steps: Steps
    value: Any
    place: Place

    @property
    def path(self) -> str:
        """As rules name it: ``roles.x.models[0]``."""
        said = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.steps)
        return said.removeprefix(".")

    @property
    def name(self) -> str:
        """The last step."""
        return str(self.steps[-1])


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of one file; ``steps`` lead to what is set, taken away, or added to.

    What is added to a list is its new last item; of a file of Rego the ``text`` is set. With
    ``prune`` a mapping goes along with the last that is taken out of it, for an empty one would
    say nothing.
    """

    how: Literal["set", "drop", "add", "text"]
    file: int
    steps: Steps
    value: Any = None
    prune: bool = False


class Tree:
    """Files that the grammar accepts. The constructor raises Problem PC7002 for what is no YAML."""

    def __init__(self, files: tuple[SourceFile, ...]) -> None:
        self.files = files
        self._values: list[Any] = []
        self._places: list[dict[Steps, Place]] = []
        faults = Faults(files)
        for file in files:
            reader = Reader(file, faults)
            root, places = None if file.name.endswith(REGO) else reader.root(), {}
            value = {} if root is None else reader.value(root, "the policy")
            if root is not None:
                places = dict(_places(reader, root, ()))
            self._values.append(value)
            self._places.append(places)
        faults.raise_any()

    def part(self, file: int, steps: Steps) -> Part | None:
        """The node at ``steps``; None when there is none."""
        value = self._values[file]
        for step in steps:
            if not isinstance(value, dict) or step not in value:
                return None
            value = value[step]
        return Part(file, steps, value, self._places[file][steps])

    def below(self, part: Part | None) -> Iterator[Part]:
        """The members of a mapping, or the items of a list; nothing has none."""
        if part is None or not isinstance(part.value, dict | list):
            return
        listed: Any = part.value.items() if isinstance(part.value, dict) else enumerate(part.value)
        for step, value in listed:
            steps = (*part.steps, step)
            yield Part(part.file, steps, value, self._places[part.file][steps])

    def child(self, part: Part, name: str) -> Part | None:
        """One member of a mapping; None when it has none of this name."""
        return next((one for one in self.below(part) if one.steps[-1] == name), None)

    def section(self, name: str) -> Iterator[Part]:
        """The members of a section, of all files: the roles, for example."""
        for file in range(len(self.files)):
            yield from self.below(self.part(file, (name,)))

    def grants(self, role: Part) -> Iterator[Part]:
        """What a role grants."""
        for name in GRANTS:
            yield from self.below(self.child(role, name))

    def conditions(self, part: Part) -> Iterator[Part]:
        """What stands beside a grant, or in a role, and makes it good for less."""
        if isinstance(part.value, dict):
            yield from (one for one in self.below(part) if one.steps[-1] in CONDITIONS)

    def bounds(self, tool: Part) -> Iterator[Part]:
        """The bounds of a tool's arguments."""
        for argument in self.below(self.child(tool, "arguments")):
            yield from (one for one in self.below(argument) if one.steps[-1] in BOUNDS)

    def bindings(self, tool: Part) -> Iterator[Part]:
        """How the calls of a tool show which data they are of."""
        yield from self.below(self.child(tool, "data"))

    def denials(self) -> Iterator[Part]:
        """The hand-written denials: each rule ``deny contains`` of a file of Rego, as a part of it.

        Its value is the line, its path the one that verdicts name.
        """
        for index, file in enumerate(self.files):
            package = _PACKAGE.search(file.text) if file.name.endswith(REGO) else None
            for number, line in enumerate(file.text.splitlines(), 1) if package else ():
                found = _DENIAL.match(line)
                if package and found:
                    place = Place(file.name, number, len(found[1]) + 1)
                    yield Part(index, ("custom", package[1], "deny"), line, place)

    def edited(self, edits: tuple[Edit, ...]) -> tuple[SourceFile, ...]:
        """The files after changes, the changed ones as JSON, which is YAML too."""
        values = list(self._values)
        files = list(self.files)
        for edit in edits:
            name, text = files[edit.file].name, edit.value
            if edit.how != "text":
                values[edit.file] = _changed(values[edit.file], edit.steps, edit)
                text = json.dumps(values[edit.file], ensure_ascii=False)
            files[edit.file] = SourceFile(name, text)
        return tuple(files)


def entry_name(value: Any) -> str:
    """The name of a list's entry: ``read:orders`` for a permission; empty where it has none."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        for key, said in value.items():
            if key not in BESIDE and isinstance(said, str):
                return said if key in _NAMES else f"{key}:{said}"
    return ""


def _places(reader: Reader, node: yaml.Node, steps: Steps) -> Iterator[tuple[Steps, Place]]:
    """Where each node begins; a mapping's member begins with its name."""
    if not steps:
        yield steps, reader.place(node)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*steps, key.value), reader.place(key)
            yield from _places(reader, value, (*steps, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*steps, index), reader.place(value)
            yield from _places(reader, value, (*steps, index))


def _changed(value: Any, steps: Steps, edit: Edit) -> Any:
    if not steps:
        return [*(value or []), edit.value] if edit.how == "add" else edit.value
    head: Any = steps[0]
    rest = steps[1:]
    copy: Any = list(value) if isinstance(value, list) else dict(value)
    if rest or edit.how != "drop":
        there = copy[head] if isinstance(copy, list) else copy.get(head)
        copy[head] = _changed({} if there is None and rest else there, rest, edit)
    if edit.how == "drop" and (not rest or (edit.prune and copy[head] == {})):
        del copy[head]
    return copy
