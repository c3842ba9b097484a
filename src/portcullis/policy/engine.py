"""The Rego engine: a port, and its adapter for regorus' virtual machine."""

from __future__ import annotations

import functools
import json
import re
import threading
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import regorus

from portcullis.core.containment import Containment, ToolModel
from portcullis.core.errors import Problem
from portcullis.core.inspection import Profile
from portcullis.core.limits import Limit
from portcullis.core.quarantine import Quarantine
from portcullis.policy.compiler import GRANTS, Bundle
from portcullis.policy.loops import MOST_STEPS, Cost, cost
from portcullis.policy.observe import Observe
from portcullis.policy.syntax import BUILTINS
from portcullis.policy.windows import Window

DECISION: Final = "data.portcullis.decision"
VISIBLE: Final = "data.portcullis.visible"
PROFILE: Final = "data.portcullis.profile"

_CUSTOM: Final = "custom/"
_GATHERED: Final = "handwritten.rego"
_TOLD: Final = "package portcullis.handwritten\n\ndenials := input.denials\n"
"""Hand-written packages are evaluated by regorus' interpreter, in which an error is an error and a
denial that goes wrong refuses; its VM would go on (docs/policy-language.md). What they deny is
handed to the VM with the question. Published is what they say, which OPA evaluates whole."""

_RULE: Final = re.compile(r"^(?!package |import )[A-Za-z_]", re.MULTILINE)
_HEAD: Final = ("package ", "import ")
_LONG: Final = 5000
"""Lines of a merged module, from which on there is another: the VM takes 20 000 in one."""
_EXCEEDS: Final = "exceeds max"
_TOO_MANY: Final = "Grants have too many conditions (`when:`): some 1 500 fit into one policy."

_thread: Final = threading.local()
"""Each thread's VMs, by the digests of the policies in them: ``known``, the newest last.

regorus' objects may be used, and dropped, only by the thread that made them; an engine's own
attribute could be dropped by any thread, so this cache belongs to the threads.
"""


_MOST: Final = 3
"""Policies that a thread keeps ready: the one in force, a candidate beside it, and what comes."""


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
    hosts whose TLS ends at the gate, by role. ``windows`` and ``moments`` (seconds since the epoch,
    in order) are what it says of time. ``masking`` are the servers of whose results anything is
    masked, by role; ``*`` for all.
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
    masking: dict[str, frozenset[str]] = {}
    quarantine: Quarantine = Quarantine()
    terminated: dict[str, tuple[str, ...]] = {}
    windows: tuple[Window, ...] = ()
    moments: tuple[int, ...] = ()
    observed: tuple[tuple[str, Observe], ...] = ()


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
            ours, theirs = _ours(bundle), _handwritten(bundle)
            seen = [_seen(*module) for module in (*ours, *theirs)]
            own = {name for one in seen for name in one.own}
            refused = sorted({name for one in seen for name in one.calls} - own - BUILTINS)
            assigns = any(one.assigns for one in seen[: len(ours)])
            program = regorus.Program.compile_from_modules("{}", ours, [DECISION, VISIBLE, PROFILE])
            binary: bytes = program.serialize_binary()
        except RuntimeError as error:
            text = str(error).partition("Stack backtrace")[0].strip()
            hint = _TOO_MANY if _EXCEEDS in text else None
            raise Problem("PC7002", f"the Rego does not compile: {text}", hint=hint) from None
        if refused:
            raise Problem("PC7002", f"built-ins not on the list: {', '.join(refused)}")
        if assigns:
            raise Problem("PC7002", "a rule's body assigns: regorus' VM misjudges undefined there")
        return binary

    def evaluate(self, policy: CompiledPolicy, entry: str, question: str) -> str:
        """Evaluate on this thread's VM, loading the policy's program on first sight."""
        known = _known()
        try:
            held = known.get(policy.digest)
            if held is None:
                held = _add(known, policy)
            vm, second = held
            if second is not None and entry == DECISION:
                question = _with_denials(second, question)
            vm.set_input_json(question)
            answer: str = vm.execute_entry_point(entry)
        except BaseException as error:
            known.pop(policy.digest, None)  # a VM that failed is not used again
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                # A Rust panic is not an Exception, and is a fault like any other.
                raise EngineFault(type(error).__name__) from None
            raise
        return answer


class _Custom(NamedTuple):
    """What evaluates hand-written packages, and what that costs."""

    engine: Any
    cost: Cost


def _known() -> dict[str, tuple[Any, _Custom | None]]:
    try:
        known: dict[str, tuple[Any, _Custom | None]] = _thread.known
    except AttributeError:
        known = _thread.known = {}
    return known


def _add(
    known: dict[str, tuple[Any, _Custom | None]], policy: CompiledPolicy
) -> tuple[Any, _Custom | None]:
    while len(known) >= _MOST:
        del known[next(iter(known))]
    made = known[policy.digest] = (_load(policy), _interpreter(policy.bundle))
    return made


def _load(policy: CompiledPolicy) -> Any:
    program, partial = regorus.Program.deserialize_binary(policy.program)
    if partial:
        raise EngineFault("the program is incomplete")
    vm = regorus.Rvm()
    vm.load_program(program)
    vm.set_data_json(policy.bundle.data)
    return vm


def _ours(bundle: Bundle) -> list[tuple[str, str]]:
    """The modules for the VM, which takes few modules but long ones.

    Those of roles are merged, by what they import; those with nothing but comments are left out.
    The VM is told what hand-written packages deny.
    """
    kept, merged = [], dict[str, list[list[str]]]()
    for name, text in bundle.modules:
        if name.startswith(GRANTS):
            if _RULE.search(text):
                lines = [line for line in text.split("\n") if not line.startswith("#")]
                head = "\n".join(line for line in lines if line.startswith(_HEAD))
                parts = merged.setdefault(head, [[]])
                if len(parts[-1]) > _LONG:
                    parts.append([])
                parts[-1] += [line for line in lines if not line.startswith(_HEAD)]
        elif not name.startswith(_CUSTOM):
            kept.append((name, text))
    for head, parts in merged.items():
        kept += [(f"grants{len(kept)}.rego", "\n".join([head, *part])) for part in parts]
    if _handwritten(bundle):
        kept = [(name, _TOLD if name == _GATHERED else text) for name, text in kept]
    return kept


def _handwritten(bundle: Bundle) -> list[tuple[str, str]]:
    """The hand-written packages and what gathers them; nothing where there are none."""
    found = [one for one in bundle.modules if one[0].startswith(_CUSTOM)]
    return found and [*found, *(one for one in bundle.modules if one[0] == _GATHERED)]


def _interpreter(bundle: Bundle) -> _Custom | None:
    """What evaluates hand-written packages; None where there are none."""
    modules = _handwritten(bundle)
    if not modules:
        return None
    engine = regorus.Engine()
    for name, text in modules:
        engine.add_policy(name, text)
    engine.add_data_json(bundle.data)
    texts = tuple(text for name, text in modules if name.startswith(_CUSTOM))
    return _Custom(engine, cost(texts, json.loads(bundle.data)["policy"]))


def _with_denials(custom: _Custom, question: str) -> str:
    asked = json.loads(question)
    if custom.cost.steps(asked, len(question)) > MOST_STEPS:
        raise EngineFault("too much for the loops of the hand-written packages")
    custom.engine.set_input_json(question)
    denials = json.loads(custom.engine.eval_rule_as_json("data.portcullis.handwritten.denials"))
    if not isinstance(denials, list):
        raise EngineFault("the hand-written packages do not answer")
    return json.dumps({**asked, "denials": denials})


class _Seen(NamedTuple):
    """What a module calls (dotted names), which functions it defines, and whether it assigns."""

    calls: frozenset[str]
    own: frozenset[str]
    assigns: bool


@functools.lru_cache(maxsize=256)
def _seen(name: str, text: str) -> _Seen:
    """Look at a module, and at one that stays as it is only once."""
    engine = regorus.Engine()
    engine.add_policy(name, text)
    (module,) = json.loads(engine.get_ast_as_json())
    package = _dotted(module["ast"]["package"]["refr"]).rpartition(".")[2]
    own = set()
    for rule in module["ast"]["rules"]:
        head = rule.get("Spec", {}).get("head", {})
        if "Func" in head:
            called = _dotted(head["Func"]["refr"])
            own |= {called, f"{package}.{called}"}
    calls = frozenset(_dotted(call["fcn"]) for call in _found(module, "Call"))
    return _Seen(calls, frozenset(own), next(_found(module, "AssignExpr"), None) is not None)


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
