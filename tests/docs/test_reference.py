"""The reference leaves nothing out that the code has: what it is made from, and what it came to."""

import ast
import json
import re
from pathlib import Path

from portcullis.cli import _COMMANDS
from portcullis.cli.explain import explain
from portcullis.core.methods import METHODS

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src/portcullis"
REFERENCE = ROOT / "docs/reference"
FORM = re.compile(r"[a-z_]+(\.[a-z_{}]+){1,3}|log(in|out)")
RECORDING = {
    "Alarm",
    "_act",
    "_end",
    "_here",
    "_record",
    "_run",
    "_say",
    "_stream",
    "_tell",
    "_unary",
    "act",
    "asked",
    "befell",
    "changed",
    "done",
    "noted",
    "record",
    "refused",
    "shown",
}
"""The functions that are told by which method something is recorded."""
ELSEWHERE = {"demo", "redteam", "bench"}
"""Packages that record nothing of their own."""


def texts(node):
    """The texts that an expression may be; ``{}`` stands for what is only known when it runs."""
    for part in (node.body, node.orelse) if isinstance(node, ast.IfExp) else (node,):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value
        elif isinstance(part, ast.JoinedStr):
            yield "".join(
                one.value if isinstance(one, ast.Constant) else "{}" for one in part.values
            )


def recorded():
    """Each method that a call in the code names, with the file that does."""
    for path in sorted(SOURCES.rglob("*.py")):
        if path.relative_to(SOURCES).parts[0] in ELSEWHERE or path.name.endswith("_pb2.py"):
            continue
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            named = getattr(call.func, "attr", getattr(call.func, "id", ""))
            if named in RECORDING:
                given = [*call.args, *(one.value for one in call.keywords if one.arg == "method")]
                found = [text for one in given for text in texts(one)]
                yield from ((text, path.name) for text in found if FORM.fullmatch(text))


def test_every_method_that_is_recorded_is_explained():
    found = set(recorded())
    assert len(found) > 70
    unknown = [
        (method, file)
        for method, file in found
        if not any(re.fullmatch(method.replace("{}", "[a-z_.]+"), known) for known in METHODS)
    ]
    assert unknown == []


def test_every_method_that_is_explained_is_somewhere_in_the_code():
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for path in SOURCES.rglob("*.py")
        if path.name != "methods.py"
    )
    prefixes = ("approval.", "authority.", "incident.", "principals.", "review.")  # by the verb
    gone = [
        method
        for method in METHODS
        if f'"{method}"' not in code and not method.startswith(prefixes)
    ]
    assert gone == []


def test_explain_says_of_each_method_what_the_reference_says(capsys):
    page = (REFERENCE / "events.md").read_text(encoding="utf-8")
    for method, about in METHODS.items():
        explain(method)
        assert capsys.readouterr().out == f"{method}: {about}\n"
        assert f"| `{method}` | {about} |" in page
    explain("approval.frozen", as_json=True)
    assert json.loads(capsys.readouterr().out)["about"] == METHODS["approval.frozen"]


def test_every_figure_of_the_gate_is_in_the_reference():
    page = (REFERENCE / "metrics.md").read_text(encoding="utf-8")
    made = {
        name
        for path in SOURCES.rglob("*.py")
        for name in re.findall(
            r'(?:Counter|Gauge|Histogram|Summary)\(\s*f?"(portcullis_[a-z_]+)', path.read_text()
        )
    }
    assert len(made) >= 14
    assert [name for name in made if f"`{name}" not in page] == []


def test_every_command_has_its_section_in_the_reference():
    page = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    assert [name for name in _COMMANDS if f"## portcullis {name}\n" not in page] == []


def test_every_operation_says_who_may_use_it():
    for name in ("api-agents", "api-control"):
        page = (REFERENCE / f"{name}.md").read_text(encoding="utf-8")
        operations = re.findall(r"^## (?:GET|POST|DELETE) /\S+$", page, re.MULTILINE)
        assert len(operations) == page.count("\n- For: ") > 8
