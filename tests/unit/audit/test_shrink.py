from __future__ import annotations

import hmac

import msgspec
import pytest

from portcullis.audit.shrink import encode, fit
from portcullis.core.errors import Problem
from portcullis.core.event import Event, ResultSummary

LONG = "\u0001" * 70_000


def commit(subject: str, value: bytes) -> str:
    return "hmac-sha256:" + hmac.digest(subject.encode(), value, "sha256").hex()


def shrunk(event: Event) -> Event:
    entry = fit(event, commit)
    assert len(entry) <= 65535
    return msgspec.json.decode(entry, type=Event)


def test_what_fits_is_stored_as_it_is(event) -> None:
    given = event(1, parameters={"limit": 10})
    assert fit(given, commit) == encode(given)


def test_large_clear_parameters_become_a_commitment(event) -> None:
    held = {"request": "hmac-sha256:00"}
    parameters = {"note": LONG}
    got = shrunk(event(1, session="s-1", parameters=parameters, commitments=held))
    assert got.parameters == {}
    assert got.commitments == {**held, "parameters": commit("session:s-1", encode(parameters))}


def test_thousands_of_unknown_arguments_cannot_keep_a_refusal_off_the_record(event) -> None:
    held = {f"field{n}": commit("s", b"") for n in range(3000)}
    held |= {"request": "r", "user": "u", "subject": "s"}
    got = shrunk(event(1, commitments=held, verdict="deny"))
    assert set(got.commitments) == {"request", "user", "subject", "parameters", "fields"}
    assert got.verdict == "deny"
    assert got.id == event(1).id


@pytest.mark.parametrize(
    "field", ["name", "server", "method", "reason", "rule", "source", "principal", "session"]
)
def test_a_name_of_any_length_is_recorded_cut(event, field: str) -> None:
    got = shrunk(event(1, **{field: LONG}))
    assert getattr(got, field).startswith(LONG[:100] + "...hmac-sha256:")


def test_everything_at_once_still_fits(event) -> None:
    fields = {
        name: LONG
        for name in Event.__struct_fields__
        if isinstance(getattr(event(1), name), str) and name not in {"id", "type", "gateway"}
    }
    got = shrunk(
        event(
            1,
            **fields,
            features=(LONG,) * 50,
            findings=(LONG,) * 50,
            parameters={LONG: LONG},
            commitments=dict.fromkeys(("request", "user", "subject", LONG), LONG),
            result=ResultSummary(bytes=1, finish=LONG),
        )
    )
    assert len(got.features) == 16
    assert got.result is not None
    assert got.result.bytes == 1


def test_what_cannot_be_shrunk_is_refused_not_lost(event) -> None:
    given = msgspec.structs.replace(event(1), time=event(1).time, code="c")
    with pytest.raises(Problem) as caught:
        fit(msgspec.structs.replace(given, risk="x" * 70_000), lambda *_: LONG)
    assert caught.value.code == "PC6001"
