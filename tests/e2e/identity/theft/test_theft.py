"""If these fail, a stolen or forged credential is worth something, or its use leaves no trace."""

import asyncio
import contextlib
import datetime as dt

import pytest

from e2e.identity.theft.cases import digest, filled, frozen, load
from e2e.identity.theft.deployment import deployed, scene
from e2e.identity.theft.twists import certificates, enrolment, plain, requests, tokens, workload
from e2e.identity.theft.twists.registry import TWISTS

pytestmark = pytest.mark.anyio
CASES = load()
MODULES = (certificates, enrolment, plain, requests, tokens, workload)


def test_the_cases_are_those_that_were_written_before_the_first_run():
    assert digest() == frozen()


def test_every_case_has_its_forging_step_and_a_name_of_its_own():
    assert {case.do for case in CASES} <= set(TWISTS)
    assert len({case.id for case in CASES}) == len(CASES)


@contextlib.asynccontextmanager
async def on_a_gate(case, town, folder):
    """The gate that the case is played on: the shared one or its own."""
    if not case.own_gate:
        yield town
        return
    async with deployed(folder, (case,)) as made:
        yield made


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_theft_is_refused_and_recorded(case, town, tmp_path, outcome):
    got = {}
    outcome[case.id] = (case, got)
    async with on_a_gate(case, town, tmp_path) as gate:
        await gate.goes_well()
        people = await scene(gate, case)
        names = {
            "domain": gate.domain,
            "victim": people.victim.name,
            "thief": people.thief.name,
            "id": case.id,
        }
        began = dt.datetime.now(dt.UTC)
        try:
            answer = await TWISTS[case.do](people, **filled(case.parameters, names))
        except Exception as failed:
            got["note"] = f"did not get as far: {failed!r}"[:300]
            raise
        got |= {
            "status": answer.status,
            "code": answer.code,
            "note": answer.note or answer.text[:160],
        }
        event = await recorded(gate, case, began)
        got["recorded"] = (
            f"names {event.credential or event.source}"
            if event
            else f"not recorded, but {others(gate, began)}"
        )
        refused = told(case, answer)
        await gate.goes_well()
        got["held"] = bool(refused and event)
    assert refused, got
    assert event, got


def told(case, answer) -> bool:
    """Whether the answer is the one that was expected."""
    if answer.status == "handshake":
        return not {"handshake", "cut"}.isdisjoint(case.statuses)
    # What is cut may still be answered in its last milliseconds.
    refusal = {400, 403} if case.surface == "token endpoint" else {403}
    if answer.status not in (refusal if "cut" in case.statuses else set(case.statuses)):
        return False
    if case.surface == "workload API":  # gRPC's answer is its status; the code is in the record
        return answer.code in {"", case.code}
    return answer.code == ("" if case.code == "none" else case.code)


async def recorded(gate, case, began, seconds=2.0):
    """The record of it: who or whence, under the code; of what was no refusal, that it was done."""
    for _ in range(round(seconds / 0.05)):
        for event in gate.events():
            if event.time < began or not (event.credential or event.source):
                continue
            if case.code == "none" and event.verdict == "allow" and event.type == "identity":
                return event
            if event.code == case.code and event.verdict == "deny":
                return event
        await asyncio.sleep(0.05)
    return None


def others(gate, began):
    return [(e.method, e.verdict, e.code) for e in gate.events() if e.time >= began and e.code]
