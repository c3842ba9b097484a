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
from chaos.tried import during, untried
from portcullis import __version__


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
    """What became of a round. ``calls`` counts answers by kind and code ("" is an answer).

    ``during`` counts those that began while something was wrong, ``lag`` is how late this process
    was at most, in seconds. A round that did not come to its end says so among its violations, and
    has a ``report``.
    """

    version: str = ""
    seed: int
    round: int
    faults: list[str]
    proof: list[str]
    violations: list[str]
    calls: dict[str, dict[str, int]]
    during: dict[str, int] = {}
    lag: float = 0.0
    killed: int
    consumed: int
    verified: int
    serves_after: float | None
    slowest: float
    seconds: float
    report: str = ""


def _outcome(
    plan: Plan, number: int, kinds: list[str], one: Round, seconds: float, broke: str
) -> Outcome:
    history = one.history
    broken = violations(history) + ([broke] if broke else untried(history, GATEWAYS))
    calls: dict[str, Counter[str]] = {}
    for asked in history.asked:
        calls.setdefault(asked.kind, Counter())[asked.code] += 1
    served = [found.seconds for found in history.served]
    return Outcome(
        version=__version__,
        seed=plan.seed,
        round=number,
        faults=kinds,
        proof=one.proof,
        violations=broken,
        calls={kind: dict(codes) for kind, codes in calls.items()},
        during=during(history),
        lag=round(one.lag, 2),
        killed=len(history.killed),
        consumed=len(history.consumed),
        verified=len(history.verified),
        serves_after=None
        if None in served or not served
        else round(max(found for found in served if found is not None), 2),
        slowest=round(max((one.ended - one.began for one in history.asked), default=0.0), 2),
        seconds=round(seconds, 1),
    )


def _keep(results: Path, done: Outcome) -> None:
    with results.open("ab") as file:
        file.write(msgspec.json.encode(done) + b"\n")


async def _run(plan: Plan, made: House) -> None:
    for number, kinds in plan.rounds:
        began = time.monotonic()
        one, broke, report = Round(made, number, kinds, plan.seed, _pace(plan)), "", ""
        try:
            await one.run()
        except Exception as error:  # noqa: BLE001 - whatever it was, the round is not forgotten
            broke = f"completed: {_why(error)}"
            report = traceback.format_exc()[-4000:] + _said(made.folder)
        done = _outcome(plan, number, kinds, one, time.monotonic() - began, broke)
        _keep(Path(plan.results), msgspec.structs.replace(done, report=report))
        if broke:  # what a fleet is worth after that is not known
            return


def _pace(plan: Plan) -> Pace:
    return Pace(plan.least, plan.most)


def _why(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {str(error)[:500]}"


def _said(folder: Path) -> str:
    """The last words of those who rule and serve."""
    words = []
    for name in (CONTROL, *GATEWAYS):
        said = folder / f"{name}.log"
        if said.exists():
            words.append(f"--- {name}\n{said.read_text(errors='replace')[-2000:]}\n")
    return "".join(words)


async def _main(folder: Path, plan: Plan) -> None:
    programs = {name: program(*plan.mutants) for name in GATEWAYS} if plan.mutants else {}
    try:
        async with house(folder, programs=programs, lasting=plan.lasting) as made:
            await _run(plan, made)
    except Exception:  # noqa: BLE001 - whatever it was, it is shown with what they said
        traceback.print_exc()
        sys.stderr.write(_said(folder))
        raise SystemExit(1) from None


if __name__ == "__main__":
    logging.disable(logging.INFO)
    file = Path(sys.argv[1])
    asyncio.run(_main(file.parent, msgspec.json.decode(file.read_bytes(), type=Plan)))
