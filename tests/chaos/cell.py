"""Some rounds with one fleet, in namespaces of their own: ``storm`` starts it there.

``python -m chaos.cell PLAN``, a file of JSON (``Plan``) in a folder for all that is made; each
round that is over is a line of JSON in the plan's file of results (``Outcome``).
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import msgspec

from chaos.house import CONTROL, GATEWAYS, House, house
from chaos.model import violations
from chaos.mutants import program
from chaos.rounds import Pace, Round


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """``rounds`` are numbers and the faults of each; ``mutants`` what the gateways break.

    A fault lasts from ``least`` to ``most`` seconds. The clients of a round are the official ones,
    too, where it is ``official``.
    """

    seed: int
    rounds: list[tuple[int, list[str]]]
    results: str
    least: float
    most: float
    mutants: list[str] = []
    lasting: bool = True


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a round. ``calls`` counts answers by kind and code ("" is an answer)."""

    seed: int
    round: int
    faults: list[str]
    proof: list[str]
    violations: list[str]
    calls: dict[str, dict[str, int]]
    killed: int
    consumed: int
    verified: int
    serves_after: float | None
    slowest: float
    seconds: float


def _outcome(plan: Plan, number: int, kinds: list[str], one: Round, seconds: float) -> Outcome:
    history = one.history
    calls: dict[str, Counter[str]] = {}
    for asked in history.asked:
        calls.setdefault(asked.kind, Counter())[asked.code] += 1
    served = [found.seconds for found in history.served]
    return Outcome(
        seed=plan.seed,
        round=number,
        faults=kinds,
        proof=one.proof,
        violations=violations(history),
        calls={kind: dict(codes) for kind, codes in calls.items()},
        killed=len(history.killed),
        consumed=len(history.consumed),
        verified=len(history.verified),
        serves_after=None if None in served else round(max(map(float, served)), 2),
        slowest=round(max(asked.ended - asked.began for asked in history.asked), 2),
        seconds=round(seconds, 1),
    )


def _keep(results: Path, done: Outcome) -> None:
    with results.open("ab") as file:
        file.write(msgspec.json.encode(done) + b"\n")


async def _run(plan: Plan, made: House) -> None:
    for number, kinds in plan.rounds:
        began = time.monotonic()
        one = Round(made, number, kinds, plan.seed, Pace(plan.least, plan.most))
        await one.run()
        done = _outcome(plan, number, kinds, one, time.monotonic() - began)
        _keep(Path(plan.results), done)


async def _main(folder: Path, plan: Plan) -> None:
    programs = {name: program(*plan.mutants) for name in GATEWAYS} if plan.mutants else {}
    try:
        async with house(folder, programs=programs, lasting=plan.lasting) as made:
            await _run(plan, made)
    except Exception:  # noqa: BLE001 - whatever it was, it is shown with what they said
        traceback.print_exc()
        for name in (CONTROL, *GATEWAYS):
            said = folder / f"{name}.log"
            if said.exists():
                text = said.read_text(errors="replace")[-2000:]
                sys.stderr.write(f"--- {name}\n{text}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    logging.disable(logging.INFO)
    file = Path(sys.argv[1])
    asyncio.run(_main(file.parent, msgspec.json.decode(file.read_bytes(), type=Plan)))
