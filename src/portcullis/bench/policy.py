"""``bench policy``: what a decision costs, and what a new policy costs the calls beside it.

The policy is a large one (``policy_made``). Decisions are those of one thread, of calls that are
allowed, denied and granted on terms; none is remembered, but where the figure says so.
"""

from __future__ import annotations

import itertools
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from portcullis.bench.load import percentile
from portcullis.bench.policy_gate import measure_activation
from portcullis.bench.policy_made import Sizes, agent, text, tool, tool_of
from portcullis.bench.report import Report, machine, report, target
from portcullis.catalogue.schema import fault
from portcullis.core.call import Action, Call, Context, Route
from portcullis.core.errors import Problem
from portcullis.core.ports import Clock
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.verdict import Allow
from portcullis.policy.engine import DECISION, CompiledPolicy, Input, RegorusEngine
from portcullis.policy.pdp import RegoPdp, compile_files
from portcullis.policy.source import SourceFile

PROMISES: Final = {
    "decision_p50_us": 40.0,
    "decision_p99_us": 150.0,
    "activation_s": 2.0,
    "memory_growth_mb": 2.0,
}
_MIX: Final = 2048
_STATUS: Final = Path("/proc/self/statm")
_PAGE_MB: Final = 4096 / 2**20

Say = Callable[[str], None]
Asked = tuple[Call, Context]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``seconds`` of each kind of decision; ``decisions`` by which memory is measured.

    ``gate``: start one, and activate a policy in it, ``rounds`` times.
    """

    seconds: float = 2.0
    decisions: int = 1_000_000
    rounds: int = 3
    gate: bool = True
    sizes: Sizes = field(default_factory=Sizes)


class _System(Clock):
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


def measure_policy(settings: Settings, say: Say) -> Report:
    """Measure. Raises Problem PC7007 where the policy decides otherwise than it must."""
    at, sizes = machine(), settings.sizes
    say("compiling")
    engine = RegorusEngine()
    files = (SourceFile("policy/main.yaml", text(sizes)),)
    began, used = time.perf_counter(), time.process_time()
    policy = compile_files(files, fault, engine)
    figures = {
        "compile_s": time.perf_counter() - began,
        "compile_cpu_s": time.process_time() - used,
    }
    say("deciding")
    figures |= _decisions(policy, engine, settings)
    say(f"memory over {settings.decisions} decisions")
    figures |= _memory(policy, engine, settings)
    if settings.gate:
        with tempfile.TemporaryDirectory(prefix="portcullis-bench-") as name:
            figures |= measure_activation(Path(name), sizes, settings.rounds, say)
    targets = {
        name: target(figures, name, "<=", most)
        for name, most in PROMISES.items()
        if name in figures
    }
    return report("bench policy", at, figures, targets)


def _decisions(
    policy: CompiledPolicy, engine: RegorusEngine, settings: Settings
) -> dict[str, float]:
    pdp, sizes = RegoPdp(policy, engine, remember=0, clock=_System()), settings.sizes
    began = time.perf_counter()
    _expect(pdp, [_allowed(sizes, 0)], allowed=True)
    figures = {"first_decision_ms": (time.perf_counter() - began) * 1000}
    drawn = random.Random(1)  # noqa: S311 - a mix of calls, not a secret
    granted = [_allowed(sizes, drawn.randrange(sizes.agents)) for _ in range(_MIX)]
    on_terms = [_on_terms(sizes, drawn.randrange(sizes.agents)) for _ in range(_MIX)]
    denied = [_denied(sizes, drawn.randrange(sizes.agents)) for _ in range(_MIX)]
    _expect(pdp, granted, allowed=True)
    _expect(pdp, on_terms, allowed=True)
    _expect(pdp, denied, allowed=False)
    mixed = [*granted[: _MIX * 7 // 10], *on_terms[: _MIX // 10], *denied[: _MIX // 5]]
    drawn.shuffle(mixed)
    for name, calls in {"": mixed, "on_terms_": on_terms, "denied_": denied}.items():
        taken = _timed(pdp.decide, calls, settings.seconds)
        figures |= {
            f"{name}decision_p50_us": percentile(taken, 0.5) * 1e6,
            f"{name}decision_p99_us": percentile(taken, 0.99) * 1e6,
        }
        figures |= {} if name else {"decisions_per_s": len(taken) / sum(taken)}
    questions = [(_input(pdp, *one), None) for one in mixed]
    taken = _timed(lambda q, _: engine.evaluate(policy, DECISION, q), questions, settings.seconds)
    figures["engine_p50_us"] = percentile(taken, 0.5) * 1e6
    remembering = RegoPdp(policy, engine, clock=_System())
    _expect(remembering, mixed, allowed=None)
    taken = _timed(remembering.decide, mixed, settings.seconds / 2)
    figures["remembered_p50_us"] = percentile(taken, 0.5) * 1e6
    return figures


def _memory(policy: CompiledPolicy, engine: RegorusEngine, settings: Settings) -> dict[str, float]:
    """How much this process grows while it decides, after as many decisions as a tenth."""
    pdp, sizes = RegoPdp(policy, engine, clock=_System()), settings.sizes
    roles = range(min(sizes.roles, sizes.agents))
    # every question is another one: nothing is answered from memory, and what is remembered changes
    numbers = itertools.count()
    warm = max(settings.decisions // 10, len(roles))

    def decide(count: int) -> None:
        for number in itertools.islice(numbers, count):
            pdp.decide(*_allowed(sizes, number % len(roles), f"order {number}"))

    decide(warm)
    before = _resident_mb()
    decide(settings.decisions)
    return {"memory_growth_mb": _resident_mb() - before, "memory_mb": _resident_mb()}


def _resident_mb() -> float:
    return int(_STATUS.read_text(encoding="ascii").split()[1]) * _PAGE_MB


def _timed(
    step: Callable[..., object], arguments: Sequence[tuple[object, ...]], seconds: float
) -> list[float]:
    """Seconds of each step, sorted."""
    taken, clock = [], time.perf_counter
    end = clock() + seconds
    for one in itertools.cycle(arguments):
        before = clock()
        step(*one)
        after = clock()
        taken.append(after - before)
        if after >= end:
            break
    return sorted(taken)


def _input(pdp: RegoPdp, call: Call, context: Context) -> Input:
    text = pdp.question(call, context).decode()
    return Input(text, context.principal.id, (f"{call.server}.{call.name}",))


def _expect(pdp: RegoPdp, calls: Iterable[Asked], *, allowed: bool | None) -> None:
    for one in calls:
        verdict = pdp.decide(*one)
        if allowed is not None and isinstance(verdict, Allow) != allowed:
            raise Problem("PC7007", f"the policy that is measured decides wrongly: {verdict}")


def _allowed(sizes: Sizes, number: int, said: str = "late orders") -> Asked:
    role = number % sizes.roles
    return _call(number, tool_of(sizes, role, number % (sizes.listed - 4)), said)


def _on_terms(sizes: Sizes, number: int) -> Asked:
    role = number % sizes.roles
    return _call(number, tool_of(sizes, role, sizes.listed - 1 - number // sizes.roles % 4))


def _denied(sizes: Sizes, number: int) -> Asked:
    """A tool of a family far away."""
    return _call(number, tool_of(sizes, number % sizes.roles + sizes.roles // 2, 0))


def _call(number: int, named: int, said: str = "late orders") -> Asked:
    server, name = tool(named)
    call = Call(
        id="0" * 32,
        route=Route.MCP_HTTP,
        action=Action.TOOL,
        server=server,
        name=name,
        method="tools/call",
        arguments={"limit": 10, "text": said},
        payload={},
        body=b"{}",
    )
    principal = Principal(
        kind=PrincipalKind.AGENT,
        id=agent(number),
        credential="bench",
        expires_at=time.time() + 3600,
    )
    context = Context(
        principal=principal, session=None, source="bench", trace_id="0" * 32, received_at=0.0
    )
    return call, context
