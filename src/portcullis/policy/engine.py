"""The Rego engine: a port, and its adapter for regorus' virtual machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any, Final, Protocol

import msgspec
import regorus

from portcullis.core.containment import Containment, ToolModel
from portcullis.core.errors import Problem
from portcullis.core.inspection import Profile
from portcullis.core.limits import Limit
from portcullis.core.quarantine import Quarantine
from portcullis.policy.compiler import Bundle

DECISION: Final = "data.portcullis.decision"
VISIBLE: Final = "data.portcullis.visible"
PROFILE: Final = "data.portcullis.profile"

BUILTINS: Final = frozenset(
    {
        "concat",
        "count",
        "is_array",
        "is_number",
        "is_string",
        "object.get",
        "object.keys",
        "object.union",
        "regex.match",
        "regex.replace",
        "startswith",
        "trim_prefix",
    }
)
"""What the policy's Rego may call: pure functions that every Rego engine has."""


_thread: Final = threading.local()
"""Each thread's VM and the digest of the policy in it.

regorus' objects may be used, and dropped, only by the thread that made them; an engine's own
attribute could be dropped by any thread, so this cache belongs to the threads.
"""


class EngineFault(Exception):  # noqa: N818 - the design's term; it never leaves this package
    """The engine could not evaluate. The caller denies."""


class CompiledPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """A policy ready to decide. ``program`` is the engine's own form of the bundle.

    ``schemas`` are the JSON Schema fragments of arguments, ``tolerated`` the rules of suspicious
    values that do not hold for one, by qualified tool and argument. ``entities`` maps each entity
    that the policy names to the place where it does. ``profiles`` are those of its roles.
    ``models`` are its tools by qualified name, ``containments`` what is done about questions, by
    agent; without one nothing is asked. ``roles`` says which role each agent has.
    ``quarantine`` is what goes on in it, ``limits`` are all that there are. ``terminated`` are the
    hosts whose TLS ends at the gate, by role.
    """

    bundle: Bundle
    digest: str
    program: bytes
    schemas: dict[str, dict[str, Any]]
    tolerated: dict[str, dict[str, frozenset[str]]] = {}
    entities: dict[str, str] = {}
    profiles: tuple[Profile, ...] = ()
    models: dict[str, ToolModel] = {}
    containments: dict[str, Containment] = {}
    roles: dict[str, str] = {}
    limits: tuple[Limit, ...] = ()
    quarantine: Quarantine = Quarantine()
    terminated: dict[str, tuple[str, ...]] = {}


class Engine(Protocol):
    """Evaluates bundles, from any thread."""

    def compile(self, bundle: Bundle) -> bytes:
        """The bundle in the engine's own form; may be slow.

        Raises Problem PC7002 for Rego that does not compile or that calls a built-in which is
        not on the list.
        """

    def evaluate(self, policy: CompiledPolicy, entry: str, question: str) -> str:
        """The JSON of the rule ``entry`` for an input (JSON text), or raise EngineFault.

        An undefined rule is anything that is not the JSON of an answer.
        """


class RegorusEngine:
    """regorus in process."""

    def compile(self, bundle: Bundle) -> bytes:
        """Check the built-ins, compile, and return the program in binary form."""
        try:
            engine = regorus.Engine()
            for name, text in bundle.modules:
                engine.add_policy(name, text)
            tree = json.loads(engine.get_ast_as_json())
            refused = sorted(_foreign_calls(tree) - BUILTINS)
            program = regorus.Program.compile_from_modules(
                bundle.data, list(bundle.modules), [DECISION, VISIBLE, PROFILE]
            )
            binary: bytes = program.serialize_binary()
        except RuntimeError as error:
            text = str(error).partition("Stack backtrace")[0].strip()
            raise Problem("PC7002", f"the Rego does not compile: {text}") from None
        if refused:
            raise Problem("PC7002", f"built-ins not on the list: {', '.join(refused)}")
        if next(_found(tree, "AssignExpr"), None) is not None:
            raise Problem("PC7002", "a rule's body assigns: regorus' VM misjudges undefined there")
        return binary

    def evaluate(self, policy: CompiledPolicy, entry: str, question: str) -> str:
        """Evaluate on this thread's VM, loading the policy's program on first sight."""
        local = _thread
        try:
            if getattr(local, "digest", None) != policy.digest:
                local.vm = _load(policy)
                local.digest = policy.digest
            local.vm.set_input_json(question)
            answer: str = local.vm.execute_entry_point(entry)
        except BaseException as error:
            local.digest = None  # a VM that failed is not used again
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                # A Rust panic is not an Exception, and is a fault like any other.
                raise EngineFault(type(error).__name__) from None
            raise
        return answer


def _load(policy: CompiledPolicy) -> Any:
    program, partial = regorus.Program.deserialize_binary(policy.program)
    if partial:
        raise EngineFault("the program is incomplete")
    vm = regorus.Rvm()
    vm.load_program(program)
    vm.set_data_json(policy.bundle.data)
    return vm


def _foreign_calls(modules: list[Any]) -> set[str]:
    """The names of all functions called that the modules do not define themselves."""
    own = set()
    for module in modules:
        package = _dotted(module["ast"]["package"]["refr"]).rpartition(".")[2]
        for rule in module["ast"]["rules"]:
            head = rule.get("Spec", {}).get("head", {})
            if "Func" in head:
                name = _dotted(head["Func"]["refr"])
                own |= {name, f"{package}.{name}"}
    return {_dotted(call["fcn"]) for call in _found(modules, "Call")} - own


def _found(node: Any, kind: str) -> Iterator[dict[str, Any]]:
    """All nodes of one kind in a syntax tree."""
    if isinstance(node, dict):
        if kind in node:
            yield node[kind]
        for value in node.values():
            yield from _found(value, kind)
    elif isinstance(node, list):
        for value in node:
            yield from _found(value, kind)


def _dotted(reference: dict[str, Any]) -> str:
    if "Var" in reference:
        return str(reference["Var"]["value"])
    if "RefDot" in reference:
        inner = reference["RefDot"]
        return f"{_dotted(inner['refr'])}.{inner['field'][1]}"
    return "?"
