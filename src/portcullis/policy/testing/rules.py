"""Runs ``test_`` rules: Rego beside a policy that asks its compiled form, as OPA's tests do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import regorus

from portcullis.core.errors import Problem
from portcullis.policy.compiler import Bundle
from portcullis.policy.source import SourceFile, root_of, text_of
from portcullis.policy.testing.cases import SUFFIX
from portcullis.policy.testing.model import Ruled

_TEST, _SKIP = "test_", "todo_test_"


def read_rules(*folders: Path) -> tuple[SourceFile, ...]:
    """Every ``*_test.rego`` of the folders. Raises Problem PC7023 for what cannot be read."""
    found = []
    for folder in folders:
        paths = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
        found += [
            SourceFile(f"{folder.resolve().name}/{path.name}", _text(folder, path))
            for path in paths
        ]
    return tuple(found)


def run_rules(files: tuple[SourceFile, ...], bundle: Bundle) -> tuple[Ruled, ...]:
    """Whether each ``test_`` rule holds in the interpreter, with the policy beside it.

    A rule that is undefined, or is anything but true, does not hold. ``todo_test_`` rules are not
    asked. Raises Problem PC7023 for Rego that cannot be read or evaluated.
    """
    if not files:
        return ()
    try:
        engine = regorus.Engine()
        for name, text in bundle.modules:
            engine.add_policy(name, text)
        for file in files:
            engine.add_policy(file.name, file.text)
        engine.add_data_json(bundle.data)
        tree = json.loads(engine.get_ast_as_json())
        names = {file.name for file in files}
        return tuple(
            Ruled(
                rule=f"{package}.{name}",
                origin=f"{origin}:{line}",
                skipped=name.startswith(_SKIP),
                passed=not name.startswith(_SKIP) and _holds(engine, f"{package}.{name}"),
            )
            for origin, package, name, line in _named(tree, names)
        )
    except RuntimeError as error:
        text = str(error).partition("Stack backtrace")[0].strip()
        raise Problem("PC7023", f"a test rule cannot be evaluated: {text}") from None


def _text(folder: Path, path: Path) -> str:
    try:
        return text_of(root_of(folder), path, "PC7023")
    except OSError as error:
        raise Problem("PC7023", f"cannot read {path.name}: {error.strerror}") from None


def _holds(engine: Any, rule: str) -> bool:
    return bool(engine.eval_rule(f"data.{rule}") is True)


def _named(tree: list[Any], names: set[str]) -> Iterator[tuple[str, str, str, int]]:
    """File, package, name and line of each test, each name of a package once."""
    seen: set[tuple[str, str]] = set()
    for module in tree:
        origin = module["source"]["file"]
        if origin not in names:
            continue
        package = ".".join(_parts(module["ast"]["package"]["refr"]))
        for rule in module["ast"]["rules"]:
            head = rule.get("Spec", {}).get("head", {}).get("Compr")
            name = "" if head is None else head["refr"].get("Var", {}).get("value", "")
            if name.startswith((_TEST, _SKIP)) and (package, name) not in seen:
                seen.add((package, name))
                yield origin, package, name, head["span"]["line"]


def _parts(reference: dict[str, Any]) -> list[str]:
    if "Var" in reference:
        return [str(reference["Var"]["value"])]
    if "RefDot" in reference:
        inner = reference["RefDot"]
        return [*_parts(inner["refr"]), str(inner["field"][1])]
    raise Problem("PC7023", "a test's package must be of plain names", hint="Write `package a.b`.")
