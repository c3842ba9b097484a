"""Hand-written Rego: packages that refuse, and can do nothing else.

A file ``NAME.rego`` of the policy folder is the package ``portcullis.custom.NAME``. What its
``deny`` holds refuses the call, whatever else grants it. It cannot allow: a grant stands in YAML,
where reach, review and everyone who reads it find it, and takes ``when: {rego: ...}``.

Every denial's reason is a text of the file, so that nothing of a call comes into the log by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from portcullis.core.codes import CODES
from portcullis.policy.custom import tried
from portcullis.policy.loops import endless, tangled
from portcullis.policy.source import Faults, Place, SourceFile
from portcullis.policy.syntax import Tree, Wrong, dotted, faults, found, parsed, references
from portcullis.policy.yaml import PRINTABLE

SUFFIX: Final = ".rego"
TESTS: Final = "_test.rego"
DENIED: Final = "PC3019"
_PACKAGE: Final = "portcullis.custom."
_NAME: Final = r"[a-z][a-z0-9_]{0,62}"
_FORM: Final = 'Write `deny contains {"reason": "TEXT"} if {...}`, perhaps with a "code".'
_HEAD: Final = "# What hand-written packages deny.\npackage portcullis.handwritten\n"
_CODE: Final = "PC7018"


@dataclass(frozen=True, slots=True)
class Denial:
    """What a denial says; ``line`` is where it stands."""

    reason: str
    code: str
    line: int


@dataclass(frozen=True, slots=True)
class Handwritten:
    """A package: its file and what it can say."""

    name: str
    file: SourceFile
    denials: tuple[Denial, ...]

    def data(self) -> dict[str, dict[str, str]]:
        """Each denial by its reason, with the rule that verdicts name."""
        return {
            one.reason: {
                "reason": one.reason,
                "code": one.code,
                "rule": f"custom.{self.name}.deny @ {self.file.name}:{one.line}",
            }
            for one in self.denials
        }


def read_handwritten(files: Iterable[SourceFile], noted: Faults) -> tuple[Handwritten, ...]:
    """Read all packages; what may not stand in one is a fault (PC7018)."""
    known: dict[str, Handwritten] = {}
    for file in files:
        one = _read(file, noted)
        if one is None:
            continue
        if one.name in known:
            first = known[one.name].file.name
            _note(noted, file, Wrong(1, 1, f"{_PACKAGE}{one.name} is also {first}"))
        known[one.name] = one
    return tuple(known.values())


def modules(packages: tuple[Handwritten, ...]) -> Iterator[tuple[str, str]]:
    """The packages, and the module that gathers what they deny."""
    lines = ["", "import rego.v1", ""] if packages else ["", "denials := []", ""]
    for one in packages:
        yield f"custom/{one.name}.rego", one.file.text
        lines.append(
            f'denials contains {{"name": "{one.name}", "reason": found.reason}} if some found in'
            f" data.{_PACKAGE}{one.name}.deny\n"
        )
    yield "handwritten.rego", _HEAD + "\n".join(lines)


def _read(file: SourceFile, noted: Faults) -> Handwritten | None:
    tree = parsed(file.text)
    if isinstance(tree, Wrong):
        _note(noted, file, tree)
        return None
    wrong = [*_package(tree), *_asked(tree), *faults(tree, machine=False), *_rules(tree)]
    for one in wrong:
        _note(noted, file, one)
    denials: dict[str, Denial] = {}
    for head in _denials(tree):
        denial = _denial(head)
        if isinstance(denial, Wrong):
            _note(noted, file, denial)
            wrong.append(denial)
        elif denials.setdefault(denial.reason, denial).code != denial.code:
            column = head["span"]["col"]
            _note(noted, file, Wrong(denial.line, column, "the same reason with another code"))
    if not wrong and not denials:
        _note(noted, file, Wrong(1, 1, "nothing here denies", _FORM))
    tangle = "" if wrong else tangled(tree)
    if tangle or (not wrong and endless(tree)):
        said = tangle or "loops over its own lists without an end in sight"
        _note(noted, file, Wrong(1, 1, said))
        return None
    name = dotted(tree["package"]["refr"]).removeprefix(_PACKAGE)
    failed = None if wrong else tried(file.text, f"data.{_PACKAGE}{name}.deny")
    if failed is not None:
        _note(noted, file, failed)
        return None
    return None if wrong else Handwritten(name, file, tuple(denials.values()))


def _note(noted: Faults, file: SourceFile, wrong: Wrong) -> None:
    noted.add(Place(file.name, wrong.line, wrong.column), wrong.message, wrong.hint, _CODE)


def _package(tree: Tree) -> Iterator[Wrong]:
    name = dotted(tree["package"]["refr"])
    if not name.startswith(_PACKAGE) or not re.fullmatch(_NAME, name.removeprefix(_PACKAGE)):
        hint = "In small letters, digits and _."
        yield _at(tree["package"], f"the package is not {_PACKAGE}NAME", hint)
    for one in tree["imports"]:
        if dotted(one["refr"]) != "rego.v1":
            yield _at(one, "nothing is imported but rego.v1", "Write `data.policy...` in full.")


def _asked(tree: Tree) -> Iterator[Wrong]:
    """Of data, a package may ask what the policy says."""
    allowed = [one for one in references(tree) if dotted(one) == "data.policy"]
    asked = [one for one in found(tree, "Var") if one["value"] == "data"]
    if len(asked) > len(allowed):
        yield _at(asked[0], "of data, a package may ask data.policy only")


def _rules(tree: Tree) -> Iterator[Wrong]:
    for rule in tree["rules"]:
        kind, inner = next(iter(rule.items()))
        head = inner if kind == "Default" else next(iter(inner["head"].values()))
        name = dotted(head["refr"])
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            yield _at(inner, "a rule has a plain name here")
        elif name == "allow":
            hint = "Grant it in YAML; a grant takes `when: {rego: TEXT}`."
            yield _at(inner, "hand-written Rego only denies", hint)
        elif name.startswith("test_"):
            yield _at(inner, "tests stand in files *_test.rego")
        elif name == "deny" and "Set" not in inner.get("head", {}):
            yield _at(inner, "deny is a set of objects", _FORM)


def _denials(tree: Tree) -> Iterator[Tree]:
    for rule in tree["rules"]:
        head = rule.get("Spec", {}).get("head", {}).get("Set")
        if head is not None and dotted(head["refr"]) == "deny":
            yield head


def _denial(head: Tree) -> Denial | Wrong:
    """What a denial says: literals only, so that it can say nothing of the call."""
    fields = (head["key"] or {}).get("Object", {}).get("fields", [])
    said: dict[Any, Any] = {
        key.get("String", {}).get("value"): value.get("String", {}).get("value")
        for _, key, value in fields
    }
    reason, code = said.get("reason"), said.get("code", DENIED)
    if not isinstance(reason, str) or not set(said) <= {"reason", "code"}:
        return _at(head, "not a reason, or not a literal", _FORM)
    if not re.fullmatch(PRINTABLE, reason):
        return _at(head, "a reason is one line of at most 256 characters")
    if code not in CODES or not code.startswith("PC3"):
        return _at(head, f"{code} is no code of policy", "Leave it out, or see `explain`.")
    return Denial(reason, code, head["span"]["line"])


def _at(node: Tree, message: str, hint: str = "") -> Wrong:
    span = node["span"]
    return Wrong(span["line"], span["col"], message, hint)
