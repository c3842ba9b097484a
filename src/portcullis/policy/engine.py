"""The Rego engine: a port, and its adapter for regorus' virtual machine."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import regorus

from portcullis.core.containment import Containment, ToolModel
from portcullis.core.errors import Problem
from portcullis.core.inspection import Profile
from portcullis.core.limits import Limit
from portcullis.core.quarantine import Quarantine
from portcullis.policy.compiler import GRANTS, Bundle
from portcullis.policy.custom import Custom, Unanswered
from portcullis.policy.machines import Machines, Program, kept, known
from portcullis.policy.observe import Observe
from portcullis.policy.slices import CATALOGUE, GIVEN, Parts, divided
from portcullis.policy.syntax import BUILTINS
from portcullis.policy.windows import Window

DECISION: Final = "data.portcullis.decision"
VISIBLE: Final = "data.portcullis.visible"
PROFILE: Final = "data.portcullis.profile"

_CUSTOM: Final = "custom/"
_GATHERED: Final = "handwritten.rego"
_TOLD: Final = "package portcullis.handwritten\n\ndenials := input.denials\n"
"""Hand-written packages are evaluated by regorus' interpreter (``custom``), in which an error is an
error and a denial that goes wrong refuses; its VM would go on. What they deny is
handed to the VM with the question. Published is what they say, which OPA evaluates whole."""

_RULE: Final = re.compile(r"^(?!package |import )[A-Za-z_]", re.MULTILINE)
_HEAD: Final = ("package ", "import ")
_LONG: Final = 5000
"""Lines of a merged module, from which on there is another: the VM takes 20 000 in one."""
_EXCEEDS: Final = "exceeds max"
_TOO_MANY: Final = "Grants have too many conditions (`when:`): some 1 500 fit into one policy."


class EngineFault(Exception):  # noqa: N818 - the design's term; it never leaves this package
    """The engine could not evaluate. The caller denies."""


class CompiledPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """A policy ready to decide. ``program`` is the engine's own form of the bundle.

    ``schemas`` are the JSON Schema fragments of arguments, ``tolerated`` the rules of suspicious
    values that do not hold for one, by qualified tool and argument. ``entities`` maps each entity
    that the policy names to the place where it does. ``profiles`` are those of its roles, each
    once.
    ``models`` are its tools by qualified name, ``containments`` what is done about questions, by
    agent; without one nothing is asked. ``roles`` says which role each agent has.
    ``quarantine`` is what goes on in it, ``limits`` are all that there are. ``terminated`` are the
    hosts whose TLS ends at the gate, by role. ``windows`` and ``moments`` (seconds since the epoch,
    in order) are what it says of time. ``masking`` are the servers of whose results anything is
    masked, by role; ``*`` for all.
    """

    bundle: Bundle
    digest: str
    program: Program
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


class Input(NamedTuple):
    """An input document (JSON text), the agent that it is about, and the tools that it names.

    Of agents and tools that stand in the text alone, the engine may know nothing.
    """

    text: str
    agent: str
    tools: Sequence[str] = ()


class Engine(Protocol):
    """Evaluates bundles, from any thread."""

    def compile(self, bundle: Bundle) -> Program:
        """The bundle in the engine's own form; may be slow.

        Raises Problem PC7002 for Rego that does not compile or that calls a built-in which is
        not on the list.
        """

    def evaluate(self, policy: CompiledPolicy, entry: str, asked: Input) -> str:
        """The JSON of the rule ``entry`` for an input, or raise EngineFault.

        An undefined rule is anything that is not the JSON of an answer.
        """


class RegorusEngine:
    """regorus in process."""

    def compile(self, bundle: Bundle) -> Program:
        """Check the built-ins, compile, and divide the data (``slices``)."""
        try:
            parts = divided(bundle)
            ours, theirs = _ours(bundle, whole=parts is None), _handwritten(bundle)
            seen = [_seen(*module) for module in (*ours, *theirs)]
            own = {name for one in seen for name in one.own}
            refused = sorted({name for one in seen for name in one.calls} - own - BUILTINS)
            assigns = any(one.assigns for one in seen[: len(ours)])
            code = _compiled(ours)
        except RuntimeError as error:
            error.__traceback__ = None  # its frames hold what only this thread may drop
            text = str(error).partition("Stack backtrace")[0].strip()
            hint = _TOO_MANY if _EXCEEDS in text else None
            raise Problem("PC7002", f"the Rego does not compile: {text}", hint=hint) from None
        if refused:
            raise Problem("PC7002", f"built-ins not on the list: {', '.join(refused)}")
        if assigns:
            raise Problem("PC7002", "a rule's body assigns: regorus' VM misjudges undefined there")
        return Program(code=code, parts=parts or Parts(documents=(bundle.data,)))

    def evaluate(self, policy: CompiledPolicy, entry: str, asked: Input) -> str:
        """Evaluate on a VM of this thread's, which loads what it needs on first sight."""
        parts = policy.program.parts
        number = parts.places.get(asked.agent, 0)
        held: Machines | None = None
        try:
            held = known(policy.digest)
            if held is None:
                held = kept(policy.digest, Machines(policy.program, _custom(policy)))
            question = asked.text
            if held.custom is not None and entry == DECISION:
                question = held.custom.with_denials(question)
            if asked.tools:
                question = parts.asked(question, asked.tools, listed=entry == VISIBLE)
            vm = held.at(number)
            vm.set_input_json(question)
            answer: str = vm.execute_entry_point(entry)
        except Unanswered:
            raise EngineFault("hand-written packages") from None
        except BaseException as error:
            if held is not None:
                held.forget(number)
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                # A Rust panic is not an Exception, and is a fault like any other.
                raise EngineFault(type(error).__name__) from None
            raise
        return answer


def _compiled(modules: list[tuple[str, str]]) -> bytes:
    made = regorus.Program.compile_from_modules("{}", modules, [DECISION, VISIBLE, PROFILE])
    binary: bytes = made.serialize_binary()
    return binary


def _ours(bundle: Bundle, *, whole: bool) -> list[tuple[str, str]]:
    """The modules for the VM, which takes few modules but long ones.

    Those of roles are merged, by what they import; those with nothing but comments are left out.
    The VM is told what hand-written packages deny and, without the ``whole`` of the data, what the
    catalogue says of the tools in question.
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
            kept.append((name, text if whole else text.replace(CATALOGUE, GIVEN)))
    for head, parts in merged.items():
        kept += [(f"grants{len(kept)}.rego", "\n".join([head, *part])) for part in parts]
    if _handwritten(bundle):
        kept = [(name, _TOLD if name == _GATHERED else text) for name, text in kept]
    return kept


def handwritten(bundle: Bundle) -> bool:
    """Whether it has packages that are asked in a process of their own."""
    return any(name.startswith(_CUSTOM) for name, _ in bundle.modules)


def _handwritten(bundle: Bundle) -> list[tuple[str, str]]:
    """The hand-written packages and what gathers them; nothing where there are none."""
    found = [one for one in bundle.modules if one[0].startswith(_CUSTOM)]
    return found and [*found, *(one for one in bundle.modules if one[0] == _GATHERED)]


def _custom(policy: CompiledPolicy) -> Custom | None:
    """What evaluates hand-written packages; None where there are none."""
    modules = _handwritten(policy.bundle)
    return Custom(policy.digest, modules, policy.bundle.data) if modules else None


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
