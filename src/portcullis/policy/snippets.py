"""``{rego: TEXT}``: the body of one rule, which can be nothing else."""

from __future__ import annotations

from typing import Any, Final

from portcullis.policy.loops import endless
from portcullis.policy.syntax import Wrong, dotted, faults, found, parsed, references, tried

_HEAD: Final = "package snippet\n\nimport rego.v1\n\nmet if {\n"
_MAX_CHARACTERS: Final = 4096


def snippet(text: str) -> Wrong | None:
    """What is wrong with a body; lines count from its own first.

    It sees ``input`` and ``data.policy`` alone. A text that closes its rule and goes on with
    another, or with an ``else``, is refused.
    """
    if len(text) > _MAX_CHARACTERS:
        return Wrong(1, 1, f"a body has at most {_MAX_CHARACTERS} characters")
    tree = parsed(f"{_HEAD}{text}\n}}\n")
    if isinstance(tree, Wrong):
        return _moved(tree)
    if not _one_body(tree):
        return Wrong(1, 1, "not the body of one rule", "Write the lines between `{` and `}` only.")
    asked = sum(variable["value"] == "data" for variable in found(tree, "Var"))
    if asked != sum(dotted(one) == "data.policy" for one in references(tree)):
        return Wrong(1, 1, "of data, a body may ask data.policy only")
    if endless(tree):
        return Wrong(1, 1, "loops over its own lists without an end in sight")
    wrong = next(faults(tree, machine=True), None) or tried(
        f"{_HEAD}{text}\n}}\n", "data.snippet.met"
    )
    return None if wrong is None else _moved(wrong)


def _one_body(tree: Any) -> bool:
    rules = tree["rules"]
    if len(rules) != 1 or "Spec" not in rules[0] or len(tree["imports"]) != 1:
        return False
    spec = rules[0]["Spec"]
    bodies, head = spec["bodies"], spec["head"].get("Compr")
    if len(bodies) != 1 or bodies[0]["is_else"] or head is None or head["assign"] is not None:
        return False
    return bool(head["refr"].get("Var", {}).get("value") == "met")


def _moved(wrong: Wrong) -> Wrong:
    line = max(1, wrong.line - _HEAD.count("\n"))
    return Wrong(line, wrong.column, wrong.message, wrong.hint)
