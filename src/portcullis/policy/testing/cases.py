"""Reads cases: YAML files of questions to a policy, each with the answer that is right."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import yaml

from portcullis.core.call import Action
from portcullis.core.errors import Problem
from portcullis.policy.source import Faults, SourceFile, root_of, text_of
from portcullis.policy.testing.expectations import read_expected, read_object
from portcullis.policy.testing.model import PRODUCTION, Case, Expected
from portcullis.policy.testing.moments import FORM, moment
from portcullis.policy.testing.question import Around, Asked, call_of, context_of
from portcullis.policy.yaml import Entry, Reader

TARGETS: Final = {
    "tool": Action.TOOL,
    "model": Action.MODEL,
    "resource": Action.RESOURCE,
    "prompt": Action.PROMPT,
    "complete": Action.COMPLETE,
    "request": Action.SERVER_REQUEST,
    "list": Action.LIST,
    "egress": Action.EGRESS,
}
"""What a case asks for, by the key that names it."""
LISTS: Final = ("tools", "resources", "resource_templates", "prompts")
SUFFIX: Final = "_test.rego"
"""How files of ``test_`` rules end."""
_AROUND: Final = ("agent", "session", "environment", "at")
_CASE: Final = ("case", *_AROUND, *TARGETS, "arguments", "features", "method", "names", "expect")
_SESSION: Final = ("user", "subject", "grant")
_WORD: Final = r"[A-Za-z0-9_-]{1,64}"


def read_cases(folder: Path) -> tuple[Case, ...]:
    """The cases of every ``*.yaml`` of a folder, by name; none when there is no such folder.

    Raises Problem PC7022 for all that is wrong with them, each with its line and a caret, and for
    what looks like cases and would not be run.
    """
    try:
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
        for entry in entries:
            _refuse(folder, entry)
        files = tuple(_file(folder, path) for path in entries if path.suffix == ".yaml")
    except OSError as error:
        raise Problem("PC7022", f"cannot read {folder}: {error.strerror}") from None
    return parse_cases(files)


def parse_cases(files: tuple[SourceFile, ...]) -> tuple[Case, ...]:
    """The cases of files; see ``read_cases``."""
    faults = Faults(files)
    found: dict[str, Case] = {}
    for file in files:
        for case in _Cases(Reader(file, faults)).read():
            if case.name in found:
                first = found[case.name].place
                faults.add(case.place, f"{case.name} is there twice (first at {first})")
            found[case.name] = case
    try:
        faults.raise_any()
    except Problem as problem:
        raise Problem("PC7022", problem.detail, hint=problem.hint) from None
    return tuple(found.values())


def _refuse(folder: Path, entry: Path) -> None:
    name = f"{folder.resolve().name}/{entry.name}"
    if entry.name.startswith("."):
        return
    if entry.is_dir():
        raise Problem("PC7022", f"{name}: subfolders are not read", hint="Move its files up.")
    if entry.suffix == ".yml":
        raise Problem("PC7022", f"{name}: not read", hint="Rename it to .yaml.")
    if entry.suffix == ".rego" and not entry.name.endswith(SUFFIX):
        raise Problem("PC7022", f"{name}: not run", hint=f"Rename it to {entry.stem}{SUFFIX}.")


def _file(folder: Path, path: Path) -> SourceFile:
    name = f"{folder.resolve().name}/{path.name}"
    return SourceFile(name, text_of(root_of(folder), path, "PC7022"))


class _Cases:
    """Reads one file. ``defaults`` say what its cases leave out."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._defaults: dict[str, yaml.Node] = {}

    def read(self) -> list[Case]:
        """All cases that can be read; what is wrong with the others is noted."""
        reader, root = self._reader, self._reader.root()
        if root is None:
            return []
        parts = reader.section(root, "the cases", ("version", "defaults", "cases"))
        version = parts.get("version")
        if version is None or reader.value(version, "version") != 1:
            reader.fault(version or root, "not a version that is known", "Start with `version: 1`.")
        if "defaults" in parts:
            self._defaults = reader.section(parts["defaults"], "defaults", _AROUND)
        if "cases" not in parts:
            reader.fault(root, "there are no cases", "Write them under `cases:`.")
        found = [
            self._case(node, f"cases[{index}]")
            for index, node in enumerate(reader.items(parts.get("cases"), "cases"))
        ]
        return [case for case in found if case is not None]

    def _case(self, node: yaml.Node, path: str) -> Case | None:
        reader = self._reader
        own = reader.section(node, path, _CASE)
        keys = self._defaults | own
        asked = [key for key in TARGETS if key in keys]
        if len(asked) != 1:
            reader.fault(node, f"{path} must ask one thing", f"One of {', '.join(TARGETS)}.")
            return None
        for key in ("case", "agent", "expect"):
            if key not in keys:
                reader.fault(node, f"{path} has no {key}")
                return None
        name = reader.text(keys["case"], f"{path}.case")
        agent = reader.text(keys["agent"], f"{path}.agent")
        target = reader.text(keys[asked[0]], f"{path}.{asked[0]}")
        expected = read_expected(reader, keys["expect"], f"{path}.expect")
        if name is None or agent is None or target is None:
            return None
        names = reader.texts(keys.get("names"), f"{path}.names", r"[^\x00-\x1f\x7f]{1,1024}", "")
        self._listed(node, asked[0], target, expected, named="names" in keys)
        around = self._around(agent.value, keys, path)
        call = self._call(asked[0], target, keys, path)
        if call is None:
            return None
        environment, at = self._where(keys, path)
        return Case(
            name=name.value,
            place=reader.place(node),
            call=call_of(call),
            context=context_of(around),
            expected=expected,
            environment=environment,
            at=at,
            names=tuple(entry.value for entry in names),
        )

    def _listed(
        self, node: yaml.Node, asked: str, target: Entry, expected: Expected, *, named: bool
    ) -> None:
        """What is shown can be asked of a list only, and of names."""
        kind = target.value.partition(".")[2]
        if asked == "list" and kind not in LISTS:
            self._reader.fault(node, f"no list {kind}", f"Write SERVER.{{{','.join(LISTS)}}}.")
        if (expected.visible is not None) != (asked == "list" and named):
            hint = "A list says `names` and `expect: {visible: [...]}`, and nothing else does."
            self._reader.fault(node, "names and visible go together, with a list", hint)

    def _call(
        self, asked: str, target: Entry, keys: dict[str, yaml.Node], path: str
    ) -> Asked | None:
        reader = self._reader
        for key, fits in (("method", "egress"), ("features", "model"), ("arguments", "tool")):
            if key in keys and asked != fits:
                reader.fault(keys[key], f"{path}.{key}: only with {fits}")
        arguments = read_object(self._reader, keys.get("arguments"), f"{path}.arguments")
        features = reader.texts(keys.get("features"), f"{path}.features", r"[!-~]{1,128}", "")
        method = None
        if "method" in keys:
            method = reader.text(keys["method"], f"{path}.method", "[A-Z]{3,10}", "a method")
        server, dot, _ = target.value.partition(".")
        if asked not in {"model", "egress"} and not (server and dot):
            reader.fault(keys[asked], f"{path}.{asked} must be qualified", "Write server.name.")
            return None
        found = Asked(
            TARGETS[asked],
            target.value,
            arguments,
            tuple(entry.value for entry in features),
            "GET" if method is None else method.value,
        )
        if asked == "egress":
            try:
                call_of(found)
            except Problem as problem:
                reader.fault(keys[asked], f"{path}.egress: {problem.detail}")
                return None
        return found

    def _around(self, agent: str, keys: dict[str, yaml.Node], path: str) -> Around:
        """A case without ``session``, and one whose ``session`` is null, has none."""
        reader, node = self._reader, keys.get("session")
        if node is None or reader.value(node, f"{path}.session") is None:
            return Around(agent)
        parts = reader.section(node, f"{path}.session", _SESSION)
        user = parts.get("user")
        entry = None if user is None else reader.text(user, f"{path}.session.user")
        grant = None
        if "grant" in parts:
            listed = reader.texts(parts["grant"], f"{path}.session.grant", r"[!-~]{1,256}", "")
            grant = tuple(one.value for one in listed)
        return Around(
            agent,
            session=True,
            user="" if entry is None else entry.value,
            subject=read_object(self._reader, parts.get("subject"), f"{path}.session.subject"),
            grant=grant,
        )

    def _where(self, keys: dict[str, yaml.Node], path: str) -> tuple[str, float | None]:
        reader, environment, at = self._reader, PRODUCTION, None
        if "environment" in keys:
            entry = reader.text(keys["environment"], f"{path}.environment", _WORD, "one word")
            environment = PRODUCTION if entry is None else entry.value
        if "at" in keys:
            entry = reader.text(keys["at"], f"{path}.at")
            at = None if entry is None else moment(entry.value)
            if entry is not None and at is None:
                reader.fault(keys["at"], f"{path}.at: not of the form {FORM}")
        return environment, at
