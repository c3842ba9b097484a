"""What is pruned is gone, on the record, and nothing else is; all that is left verifies."""

from __future__ import annotations

import itertools
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from portcullis.audit import query
from portcullis.audit.checkpoint import Checkpoint
from portcullis.audit.export.source import Source
from portcullis.audit.journal import frames
from portcullis.audit.log import AuditLog
from portcullis.audit.merkle import TILE_WIDTH
from portcullis.audit.proof import prove, verify_proof
from portcullis.audit.pruned import PRUNE, parameters
from portcullis.audit.pruning import Pruner
from portcullis.audit.retention_holds import Hold
from portcullis.audit.segment import check_segments, said_since
from portcullis.audit.tiles import TileReader, pack, tile_path
from portcullis.audit.verify import Expected, Report, read_head, verify
from portcullis.core.errors import Problem
from portcullis.core.event import EventType

SIZE = 1000


def cutoff(place: Any, seconds: float) -> dict[str, float]:
    """Tool calls of the first so many seconds of the log."""
    return {"tool_call": 1893456000.0 + seconds}


def pruner(place: Any, log: AuditLog, floor: int = sys.maxsize, forget: Any = len) -> Pruner:
    return Pruner(place.log, place.verifier, log, forget=forget, floor=lambda: floor)


def told(event: Any, number: int, numbers: Sequence[int], before: dict[str, float]) -> Any:
    said = parameters(numbers, before, dict.fromkeys(before, 0.0))
    return event(number, type=EventType.ADMIN, method=PRUNE, parameters=said)


def due(act: Pruner, before: dict[str, float], *holds: Hold) -> list[int]:
    found = act.due(0, act.end(), before, holds, lambda: None)
    return sorted(number for some in found.values() for number in some)


def pruned(place: Any, event: Any, before: dict[str, float], **options: Any) -> list[int]:
    """Prune what is due, as a gate does; which entries that were."""
    with place.open(checkpoint_seconds=0.01) as log:
        act = pruner(place, log, **options)
        numbers = due(act, before)
        if numbers:
            log.append_now(told(event, 5001, numbers, before))
            act.carry_out(numbers)
    return numbers


def checked(place: Any, **expected: Any) -> Report:
    return verify(place.log, place.verifier, expected=Expected(**expected))


def everything(place: Any) -> bytes:
    files = [path for path in place.root.rglob("*") if path.is_file()]
    return b"".join(path.read_bytes() for path in files)


@pytest.fixture
def filled(place: Any, event: Any) -> Iterator[Any]:
    with place.open(checkpoint_seconds=0.01) as log:
        for number in range(SIZE):
            log.enqueue(event(number, reason=f"reason {number} of all"))
    return place


def test_what_is_pruned_is_nowhere_and_the_rest_verifies_with_its_proofs(filled, event) -> None:
    proof = prove(filled.log, filled.verifier, 600)
    numbers = pruned(filled, event, cutoff(filled, 500))
    assert numbers == list(range(500))
    left = everything(filled)
    assert b"reason 499 of all" not in left
    assert left.count(b"reason 500 of all") == 2
    report = checked(filled, held=filled.checkpoint)
    assert (report.ok, report.integrity, report.journal) == (True, "passed", "passed")
    (gone,) = report.events.pruned
    assert (gone.first, gone.last, gone.count) == (0, 499, 500)
    assert gone.events == (f"{5001:032x}",)
    assert verify_proof(proof, filled.verifier).index == 600
    assert verify_proof(prove(filled.log, filled.verifier, 700), filled.verifier).index == 700
    with pytest.raises(Problem, match="was pruned"):
        prove(filled.log, filled.verifier, 499)


def test_the_log_goes_on_and_opens_again_after_it(filled, event) -> None:
    with filled.open(checkpoint_seconds=0.01) as log:
        act = pruner(filled, log)
        numbers = due(act, cutoff(filled, 700))
        log.append_now(told(event, 5000, numbers, cutoff(filled, 700)))
        for number in range(SIZE, SIZE + 50):
            log.append_now(event(number))
        act.carry_out(numbers)
        for number in range(SIZE + 50, SIZE + 100):
            log.append_now(event(number))
    for again in range(2):
        filled.fill(300, 2000 + 300 * again)
    report = checked(filled)
    assert (report.ok, report.size) == (True, SIZE + 101 + 600)


def test_a_log_whose_tiles_are_lost_with_the_pruned_hashes_does_not_open(filled, event) -> None:
    pruned(filled, event, cutoff(filled, 300))
    shutil.rmtree(filled.log / "tile")
    with pytest.raises(Problem, match="PC600"):
        filled.open()


def test_readers_pass_over_what_is_gone(filled, event) -> None:
    pruned(filled, event, cutoff(filled, 256))
    found = list(query.records(filled.log, filled.verifier))
    assert [one.index for one in found] == list(range(256, SIZE + 1))
    source = Source(filled.log, filled.verifier)
    source.refresh()
    assert source.read(0, 10) == [(number, b"") for number in range(10)]
    assert source.read(256, 1)[0][1]


def test_only_the_classes_that_policy_names_are_pruned(place, event) -> None:
    kinds = [EventType.TOOL_CALL, EventType.TOOL_RESULT, EventType.LLM_CALL, EventType.ADMIN]
    with place.open(checkpoint_seconds=0.01) as log:
        for number in range(512):
            kind = kinds[number % 4]
            more = {"decision": f"{number - 1:032x}"} if kind is EventType.TOOL_RESULT else {}
            method = "sessions.open" if number == 3 else "audit.hold" if number == 7 else ""
            log.enqueue(event(number, type=kind, method=method, **more))
    numbers = pruned(
        place, event, {"tool_call": 1893456000.0 + 4000, "session": 1893456000.0 + 4000}
    )
    assert numbers == sorted([*(n for n in range(512) if n % 4 < 2), 3])
    assert checked(place).ok


def test_the_log_of_what_operators_do_is_never_pruned(filled, event) -> None:
    pruned(filled, event, cutoff(filled, 100))
    with filled.open(checkpoint_seconds=0.01) as log:
        for number in range(6000, 6300):
            log.enqueue(event(number))
    numbers = pruned(
        filled,
        event,
        dict.fromkeys(EventType, 1893456000.0 + 4000) | {"session": 1893456000.0 + 4000},
    )
    assert SIZE not in numbers
    assert checked(filled).ok


@pytest.mark.parametrize(
    ("kind", "target", "kept"),
    [("principal", "agent:agent-1", 8), ("session", "s1", 8), ("subject", "", SIZE)],
)
def test_under_a_hold_nothing_that_it_covers_is_pruned(place, event, kind, target, kept) -> None:
    with place.open(checkpoint_seconds=0.01) as log:
        for number in range(SIZE):
            more = {"principal": "other"}
            if number % 100 == 50:
                more = {"principal": "agent-1", "session": "s1", "principal_kind": "agent"}
            log.enqueue(event(number, **more))
    hold = Hold(id="h", kind=kind, target=target, tags={}, reason="r", by="o", since=0.0)
    with place.open(checkpoint_seconds=0.01) as log:
        act = pruner(place, log)
        whole = act.end()
        assert len(due(act, cutoff(place, 4000))) == whole
        assert len(due(act, cutoff(place, 4000), hold)) == whole - min(kept, whole)


def test_nothing_is_pruned_that_somebody_has_still_to_read(filled, event) -> None:
    assert pruned(filled, event, cutoff(filled, 4000), floor=600) == list(range(512))


def test_a_bundle_that_is_not_what_was_signed_is_kept_as_evidence(filled, event) -> None:
    path = filled.log / tile_path("entries", 0)
    with filled.open(checkpoint_seconds=0.01) as log:
        path.write_bytes(path.read_bytes().replace(b"reason 7 of", b"reason 8 of"))
        with pytest.raises(Problem, match="not the entries of the tree"):
            due(pruner(filled, log), cutoff(filled, 4000))


def test_what_the_projection_knows_of_it_goes_first(filled, event) -> None:
    told_to_forget: list[tuple[Sequence[int], bool]] = []
    bundle = filled.log / tile_path("entries", 0)

    def forget(numbers: Sequence[int]) -> None:
        told_to_forget.append((numbers, b"reason 0 of" in bundle.read_bytes()))

    numbers = pruned(filled, event, cutoff(filled, 20), forget=forget)
    assert told_to_forget == [(numbers, True), (numbers, False)]  # and what was read meanwhile


@pytest.mark.parametrize("step", ["rewrite", "exchange", "forget", "replace"])
def test_a_crash_in_the_middle_leaves_a_log_that_verifies_and_is_pruned_later(
    filled, event, monkeypatch, step
) -> None:
    def dies(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    before = cutoff(filled, 600)
    with filled.open(checkpoint_seconds=0.01) as log, monkeypatch.context() as patch:
        act = pruner(filled, log, forget=dies if step == "forget" else len)
        numbers = due(act, before)
        log.append_now(told(event, 5000, numbers, before))
        match step:
            case "rewrite" | "replace":
                patch.setattr(f"portcullis.audit.pruning.{step}", dies)
            case "exchange":
                patch.setattr("portcullis.audit.log.Journal.exchange", dies)
        with pytest.raises(Problem, match="PC6001"):
            act.carry_out(numbers)
        assert not log.failure
    assert checked(filled).ok
    assert not list(filled.log.rglob("*.new"))
    filled.fill(10, 7000)
    pruned(filled, event, before)
    assert checked(filled).ok
    assert b"reason 599 of all" not in everything(filled)


def test_a_disk_that_is_full_is_not_left_fuller_by_pruning(filled, event, monkeypatch) -> None:
    def runs_out(path: Any) -> Iterator[Any]:
        yield from itertools.islice(frames(path), 1)
        raise OSError(28, "No space left on device")

    with filled.open(checkpoint_seconds=0.01) as log, monkeypatch.context() as patch:
        act = pruner(filled, log)
        numbers = due(act, cutoff(filled, 600))
        log.append_now(told(event, 5000, numbers, cutoff(filled, 600)))
        patch.setattr("portcullis.audit.journal.frames", runs_out)
        with pytest.raises(Problem, match="PC6001"):
            act.carry_out(numbers)
    assert not list(filled.log.rglob("*.new"))


def test_a_gate_that_prunes_while_it_is_verified_raises_no_false_alarm(
    filled, event, monkeypatch
) -> None:
    def meanwhile(tasks: Any, processes: int) -> Iterator[Any]:
        assert pruned(filled, event, cutoff(filled, 500))
        yield from check_segments(tasks, processes)

    monkeypatch.setattr("portcullis.audit.verify.check_segments", meanwhile)
    report = checked(filled)
    assert (report.ok, report.reasons) == (True, ())
    (gone,) = report.events.pruned
    assert (gone.count, gone.events) == (500, (f"{5001:032x}",))


def test_what_stands_behind_a_head_of_another_history_excuses_nothing(filled) -> None:
    head = read_head(filled.log, filled.verifier)
    other = Checkpoint(head.origin, 600, bytes(32))
    with pytest.raises(Problem, match="does not continue"):
        said_since(filled.log, other, head)


def test_bundles_that_were_emptied_without_a_word_fail_verification(filled) -> None:
    reader = TileReader(filled.log, 256)
    (filled.log / tile_path("entries", 0)).write_bytes(pack([b""] * TILE_WIDTH))
    with pytest.raises(Problem):
        reader.entries(4)
    report = checked(filled)
    assert not report.ok
    assert report.completeness == "failed"
    assert "256 entries are gone and no event says so: 0, 1, 2, 3, 4" in report.reasons


def test_one_more_entry_than_the_record_says_fails_verification(filled, event) -> None:
    pruned(filled, event, cutoff(filled, 100))
    path = filled.log / tile_path("entries", 0)
    entries = TileReader(filled.log, 256).entries(0)
    path.write_bytes(pack([*entries[:100], b"", *entries[101:]]))
    report = checked(filled)
    assert not report.ok
    assert "1 entries are gone and no event says so: 100" in report.reasons


def test_an_entry_that_was_pruned_and_is_said_to_have_been_another_fails(filled, event) -> None:
    pruned(filled, event, cutoff(filled, 100))
    path = filled.log / tile_path("entries", 0)
    entries = TileReader(filled.log, 256).entries(0)
    path.write_bytes(pack([b'{"id":"another"}', *entries[1:]]))
    report = checked(filled)
    assert (report.ok, report.integrity) == (False, "failed")


def test_a_record_that_prunes_sooner_than_its_own_policy_fails_verification(filled, event) -> None:
    with filled.open(checkpoint_seconds=0.01) as log:
        act = pruner(filled, log)
        numbers = due(act, cutoff(filled, 100))
        said = parameters(numbers, cutoff(filled, 100), {"tool_call": 30.0})
        log.append_now(event(5000, type=EventType.ADMIN, method=PRUNE, parameters=said))
        act.carry_out(numbers)
    assert "prunes sooner than the policy that it names" in str(checked(filled).reasons)


def test_a_verifier_who_wants_it_kept_longer_is_told(filled, event) -> None:
    pruned(filled, event, cutoff(filled, 100))
    assert checked(filled, keep_days=0.05).ok
    report = checked(filled, keep_days=30)
    assert not report.ok
    assert "is 0.1 days old, not 30" in str(report.reasons)


def test_a_record_with_a_false_time_does_not_cover_younger_entries(filled, event) -> None:
    with filled.open(checkpoint_seconds=0.01) as log:
        act = pruner(filled, log)
        said = parameters([*range(100, 110)], {"tool_call": 1.0}, {"tool_call": 30.0})
        log.append_now(event(5000, type=EventType.ADMIN, method=PRUNE, parameters=said))
        act.carry_out(range(100, 110))
    assert "entries 100 to 109 are gone and were too young" in str(checked(filled).reasons)


@pytest.mark.parametrize(
    "spoilt",
    [{"which": "!"}, {"which": ""}, {"first": 1}, {"end": 7}, {"before": 1}, {"which": 7}],
    ids=range(6),
)
def test_a_record_that_cannot_be_understood_covers_nothing(filled, event, spoilt) -> None:
    with filled.open(checkpoint_seconds=0.01) as log:
        act = pruner(filled, log)
        numbers = due(act, cutoff(filled, 100))
        said = parameters(numbers, cutoff(filled, 100), {}) | spoilt
        log.append_now(event(5000, type=EventType.ADMIN, method=PRUNE, parameters=said))
        act.carry_out(numbers)
    assert "100 entries are gone and no event says so" in str(checked(filled).reasons)


def test_a_refused_pruning_covers_nothing(filled, event) -> None:
    with filled.open(checkpoint_seconds=0.01) as log:
        act = pruner(filled, log)
        numbers = due(act, cutoff(filled, 100))
        said = parameters(numbers, cutoff(filled, 100), {})
        log.append_now(
            event(5000, type=EventType.ADMIN, method=PRUNE, parameters=said, verdict="deny")
        )
        act.carry_out(numbers)
    assert "100 entries are gone and no event says so" in str(checked(filled).reasons)


def test_results_whose_decisions_are_gone_are_not_called_orphans(place, event) -> None:
    with place.open(checkpoint_seconds=0.01) as log:
        for number in range(512):
            log.enqueue(event(number))
        for number in range(512):
            more = {"type": EventType.TOOL_RESULT, "decision": f"{number:032x}"}
            log.enqueue(event(512 + number, **more))
    pruned(place, event, cutoff(place, 512))
    report = checked(place)
    assert (report.ok, report.events.orphans.count) == (True, 0)


def test_the_events_of_a_session_are_counted_and_a_gate_that_starts_begins_anew(
    place, event
) -> None:
    with place.open() as log:
        for number in range(600):
            log.enqueue(event(number, session=f"s{number % 3}"))
    found = [one.event.sequence for one in query.records(place.log, place.verifier)]
    assert found == [number // 3 + 1 for number in range(600)]
    with place.open() as log:
        log.enqueue(event(700, type=EventType.ADMIN, method="policy.activate"))
        for number in range(5):
            log.enqueue(event(701 + number, session="s1"))
    last = [one.event.sequence for one in query.last(place.log, place.verifier, 5)]
    assert last == [1, 2, 3, 4, 5]
    assert checked(place).ok


def test_a_session_that_begins_anew_without_a_start_of_the_gate_has_a_gap(place, event) -> None:
    place.fill(5, session="s1")
    place.fill(5, 600, session="s1")
    assert "1 gaps in the events of a session, before: " + f"{600:032x}" in str(
        checked(place).reasons
    )


def test_pruned_events_of_a_session_are_no_gap(place, event) -> None:
    with place.open(checkpoint_seconds=0.01) as log:
        for number in range(600):
            kind = EventType.LLM_CALL if number % 5 else EventType.TOOL_CALL
            log.enqueue(event(number, session=f"s{number % 3}", type=kind))
    pruned(place, event, cutoff(place, 4000))
    report = checked(place)
    assert (report.ok, report.events.gaps.count) == (True, 0)


def test_nothing_is_gone_before_the_record_of_it_is_published(filled, event, monkeypatch) -> None:
    monkeypatch.setattr("portcullis.audit.pruning._PATIENCE", 3)
    before = cutoff(filled, 100)
    with filled.open(checkpoint_seconds=60) as log:
        act = pruner(filled, log)
        log.append_now(event(4000))
        numbers = due(act, before)
        log.append_now(told(event, 5001, numbers, before))
        with pytest.raises(Problem, match="PC6007"):
            act.carry_out(numbers)
        assert checked(filled).events.pruned == ()
    assert pruned(filled, event, before) == numbers
