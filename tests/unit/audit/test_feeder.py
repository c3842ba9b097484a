"""Readers see what a quorum has cosigned; the log never waits for a witness, and never lies."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import shutil
import socket
import threading
import time
from types import SimpleNamespace
from typing import ClassVar

import pytest

from portcullis.audit import feeder as feeding
from portcullis.audit.ask import Peer
from portcullis.audit.checkpoint import open_checkpoint
from portcullis.audit.feeder import Feeder
from portcullis.audit.query import follow, last, records
from portcullis.audit.quorum import load_quorum
from portcullis.audit.recovery import seal
from portcullis.audit.verify import verify
from portcullis.bootstrap import SystemClock
from portcullis.bootstrap.witness import opened_witness
from portcullis.core.errors import Problem
from ports import free_port
from witnesses import Clock, witness_thread, written_policy

pytestmark = pytest.mark.anyio


@pytest.fixture
def born(place):
    """A log that exists: a witness must know its key."""
    place.fill(3)
    return place


@contextlib.contextmanager
def witnesses(place, count: int = 2, **options):
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                witness_thread(place.root / f"w{n}", f"w{n}.example", [place.verifier], **options)
            )
            for n in range(1, count + 1)
        ]


def feeder(place, them, quorum: str = "all", seconds: float = 2, **options) -> Feeder:
    policy = written_policy(place.root / "policy", them, quorum, options.pop("logs", ()))
    clock = SystemClock()
    return Feeder(place.log, load_quorum(policy), clock=clock, seconds=seconds, **options)


def met(place, them, quorum: str = "all"):
    policy = load_quorum(written_policy(place.root / "check", them, quorum))
    return policy.met(place.checkpoint, time.time())


def shown(place) -> int:
    return open_checkpoint(place.checkpoint, place.verifier).size


async def becomes(condition, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - threads have no event for this
            await asyncio.sleep(0.005)


async def test_a_checkpoint_is_shown_when_every_witness_of_the_quorum_cosigned(born, event) -> None:
    with witnesses(born) as them:
        log = born.open(witnesses=feeder(born, them), checkpoint_seconds=0.05)
        await log.durable(event(3))
        await log.witnessed()
        assert shown(born) == 4
        found = met(born, them)
        assert found.met
        assert set(found.times) == {"w1.example", "w2.example"}
        assert log.witnesses.age() < 3
        assert [state.reason for state in log.witnesses.states()] == ["", ""]
        log.close()
    assert verify(born.log, born.verifier).ok


async def test_without_quorum_the_log_works_publishes_nothing_and_says_so(born, event) -> None:
    with witnesses(born) as them:
        away = SimpleNamespace(**{**vars(them[0]), "url": "http://127.0.0.1:1"})
        log = born.open(witnesses=feeder(born, [away, them[1]]), checkpoint_seconds=0.02)
        told: list[tuple[bool, str]] = []
        log.witnesses.watch(lambda lost, absent: told.append((lost, absent)))
        assert told == [(True, "w1.example: Connection refused")]
        for number in range(3, 9):
            await log.durable(event(number))
        await asyncio.sleep(0.1)
        assert shown(born) == 3
        assert log.witnesses.lost
        with pytest.raises(Problem) as caught:
            await log.witnessed()
        assert caught.value.code == "PC6007"
        assert "w1.example: Connection refused" in caught.value.detail
        assert [r.index for r in last(born.log, born.verifier, 2)] == [7, 8]
        began = time.monotonic()
        log.close()
        assert time.monotonic() - began < 2
    assert shown(born) == 3
    assert len(list(records(born.log, born.verifier))) == 9
    assert next(follow(born.log, born.verifier, 8)).index == 8


async def test_one_of_three_may_be_away_and_is_added_when_it_is_back(born, event) -> None:
    with witnesses(born, 3) as them, contextlib.ExitStack() as later:
        third = them[2]
        gone = SimpleNamespace(**{**vars(third), "url": "http://127.0.0.1:1"})
        log = born.open(witnesses=feeder(born, [*them[:2], gone], "2"), checkpoint_seconds=0.02)
        await log.durable(event(3))
        await log.witnessed()
        found = met(born, them, "2")
        assert set(found.times) == {"w1.example", "w2.example"}
        up = {state.name: not state.reason for state in log.witnesses.states()}
        assert up == {"w1.example": True, "w2.example": True, "w3.example": False}
        log.close()
        log = born.open(witnesses=feeder(born, them, "2"), checkpoint_seconds=0.02)
        await becomes(lambda: "w3.example" in met(born, them, "2").times)
        log.close()
        later.close()


async def test_a_quorum_that_comes_back_is_told_and_what_waited_is_published(born, event) -> None:
    port = free_port()
    down = SimpleNamespace(name="w1.example", url=f"http://127.0.0.1:{port}", vkey=made_key(born))
    log = born.open(witnesses=feeder(born, [down], seconds=0.5), checkpoint_seconds=0.02)
    told: list[bool] = []
    log.witnesses.watch(lambda lost, _: told.append(lost))
    await log.durable(event(3))
    with witness_thread(
        born.root / "w1", "w1.example", [born.verifier], listen=f"127.0.0.1:{port}"
    ):
        await becomes(lambda: shown(born) == 4)
        await becomes(lambda: told == [True, False])
        log.close()


def made_key(place, name: str = "w1.example") -> str:
    folder = place.root / name.partition(".")[0]
    with opened_witness(folder, name, [place.verifier]) as once:
        return once.vkey


async def test_a_quiet_log_is_witnessed_again_and_again(born) -> None:
    with witnesses(born, 1) as them:
        log = born.open(witnesses=feeder(born, them, refresh=0.05))
        first = born.checkpoint
        await asyncio.sleep(1.2)
        assert born.checkpoint != first
        assert met(born, them).time >= met_time(first, born, them) + 1
        log.close()


def met_time(note: bytes, place, them) -> int:
    policy = load_quorum(written_policy(place.root / "check", them, "all"))
    found = policy.met(note, time.time()).time
    assert found is not None
    return found


async def test_a_log_put_back_with_all_beside_it_does_not_start(born, event) -> None:
    with witnesses(born) as them:
        born.open(witnesses=feeder(born, them)).close()
        shutil.copytree(born.log, born.root / "backup")
        with born.open(witnesses=feeder(born, them)) as log:
            log.append_now(event(3))
        assert shown(born) == 4
        shutil.rmtree(born.log)
        (born.root / "backup").rename(born.log)
        with pytest.raises(Problem) as caught:
            born.open(witnesses=feeder(born, them))
        assert caught.value.code == "PC6032"
        assert "has seen 4 entries, this log holds 3" in caught.value.detail
        assert "Restore the newest" in caught.value.hint
        born.open().close()  # the lock was released


async def test_a_log_rewritten_under_its_own_key_does_not_start(born, event) -> None:
    with witnesses(born, 1) as them:
        born.open(witnesses=feeder(born, them)).close()
        shutil.rmtree(born.log)
        kept = born.keys.rename(born.root / "kept")
        born.fill(0)
        shutil.rmtree(born.log)
        shutil.rmtree(born.keys)
        kept.rename(born.keys)
        (born.log / "journal").mkdir(parents=True)
        born.fill(5, 10)
        with pytest.raises(Problem, match="another history"):
            born.open(witnesses=feeder(born, them))


async def test_a_log_that_the_policy_does_not_name_or_that_witnesses_itself_is_refused(
    born,
) -> None:
    with witnesses(born, 1) as them:
        for logs, code in ((["other.example+1+1"], "PC6006"), ([born.verifier], None)):
            if code:
                with pytest.raises(Problem) as caught:
                    born.open(witnesses=feeder(born, them, logs=logs))
                assert caught.value.code == code
            else:
                born.open(witnesses=feeder(born, them, logs=logs)).close()
    them[0].url = ""
    with pytest.raises(Problem, match="no URL"):
        feeder(born, them)


class Lying(http.server.BaseHTTPRequestHandler):
    """A witness that answers what a test wants."""

    answer: ClassVar[tuple[int, str, bytes]] = (200, "text/plain", b"")
    slow: ClassVar[float] = 0

    def do_POST(self) -> None:
        time.sleep(self.slow)
        status, kind, body = self.answer
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@contextlib.contextmanager
def lying(place, answer: tuple[int, str, bytes], slow: float = 0, name: str = "w1.example"):
    handler = type("Handler", (Lying,), {"answer": answer, "slow": slow})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield SimpleNamespace(
        name=name,
        url=f"http://127.0.0.1:{server.server_address[1]}",
        vkey=made_key(place, name),
    )
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((200, "text/plain", b""), "its cosignature does not verify"),
        ((200, "text/plain", b"\xff"), "its cosignature does not verify"),
        ((200, "text/plain", b"x" * 100_000), "its answer is too long"),
        ((404, "text/plain", b"no\n"), "it answered 404"),
        ((500, "text/plain", b"no\n"), "it answered 500"),
        ((302, "text/plain", b""), "it answered 302"),
        ((409, "text/plain", b"3\n"), "it conflicts and does not say with what"),
        ((409, "text/x.tlog.size", b"3x\n"), "it conflicts and does not say with what"),
    ],
)
async def test_an_answer_that_is_no_cosignature_publishes_nothing(born, answer, reason) -> None:
    with lying(born, answer) as it:
        log = born.open(witnesses=feeder(born, [it], seconds=1))
        assert [state.reason for state in log.witnesses.states()] == [reason]
        assert log.witnesses.lost
        assert b"w1.example" not in born.checkpoint
        log.close()


async def test_another_witness_cosignature_replayed_for_this_head_is_refused(born) -> None:
    with witnesses(born, 1) as them:
        born.open(witnesses=feeder(born, them)).close()
    line = born.checkpoint.split(b"\n")[-2] + b"\n"
    born.fill(1, 3)
    with lying(born, (200, "text/plain", line)) as it:
        it.vkey = them[0].vkey
        log = born.open(witnesses=feeder(born, [it], seconds=1))
        assert [s.reason for s in log.witnesses.states()] == ["its cosignature does not verify"]
        log.close()


async def test_a_witness_that_hangs_holds_up_nobody(born, event) -> None:
    with (
        witnesses(born, 1) as (good,),
        lying(born, (200, "text/plain", b""), 3, "w9.example") as hung,
    ):
        began = time.monotonic()
        log = born.open(witnesses=feeder(born, [good, hung], "any", seconds=0.5))
        for number in range(3, 40):
            await log.durable(event(number))
        await log.witnessed()
        assert time.monotonic() - began < 2.5
        assert not log.witnesses.lost
        log.close()
        assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("first", "then"),
    [(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", b"x"), (b"", b"HTTP/1.1 100 C\r\n\r\n")],
    ids=["a long body", "interim answers"],
)
async def test_a_witness_that_never_stops_answering_is_cut_off_and_asked_again(
    born, first: bytes, then: bytes
) -> None:
    asked: list[int] = []

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            asked.append(len(connection.recv(1 << 16)))
            connection.sendall(first)
            while True:
                connection.sendall(then)
                time.sleep(0.01)

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener, witnesses(born, 1) as them:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        endless = SimpleNamespace(name="endless", vkey=made_key(born, "w9.example"), url=url)
        fed = feeder(born, [*them, endless], "any", seconds=0.3, refresh=0.05)
        log = born.open(witnesses=fed)
        await becomes(lambda: len(asked) > 1)
        assert [state.reason for state in fed.states()] == ["", "no answer in time"]
        log.close()
        listener.shutdown(socket.SHUT_RDWR)


async def test_a_witness_whose_clock_is_ahead_does_not_count(born) -> None:
    with witnesses(born, 1, clock=Clock(time.time() + 7200)) as them:
        log = born.open(witnesses=feeder(born, them, seconds=1))
        assert log.witnesses.states()[0].reason == "its cosignature is from the future"
        assert not met(born, them).met
        log.close()


async def test_a_log_without_witnesses_again_publishes_what_it_signs(born, event) -> None:
    with witnesses(born, 1) as them:
        born.open(witnesses=feeder(born, them)).close()
    assert (born.log / "head").exists()
    born.fill(2, 3)
    assert shown(born) == 5
    assert not (born.log / "head").exists()
    log = born.open()
    with pytest.raises(Problem, match="no witnesses"):
        await log.witnessed()
    log.close()


async def test_a_log_opens_behind_a_seal_that_is_beyond_what_was_published(
    born, event, monkeypatch
) -> None:
    for module in ("journal", "recovery", "log"):
        monkeypatch.setattr(f"portcullis.audit.{module}.SEGMENT", 256)
    with witnesses(born, 1) as them:
        born.open(witnesses=feeder(born, them)).close()
        gone = SimpleNamespace(**{**vars(them[0]), "url": "http://127.0.0.1:1"})
        with born.open(witnesses=feeder(born, [gone], seconds=0.2)) as log:
            for number in range(3, 600):
                log.enqueue(event(number))
        assert shown(born) == 3
        seal(born.log, 512)
        (born.log / "tile/0/000").write_bytes(bytes(8192))  # the published 3 are no longer in it
        with born.open(witnesses=feeder(born, them)):
            pass
        assert shown(born) == 600
    assert verify(born.log, born.verifier).ok


async def test_a_stop_waits_for_a_slow_witness_for_a_moment_only_and_the_next_start_publishes(
    born, event, monkeypatch
) -> None:
    with witnesses(born, 1) as them:
        log = born.open(witnesses=feeder(born, them, seconds=20), checkpoint_seconds=0.02)
        await becomes(lambda: not log.witnesses.lost)
        with monkeypatch.context() as slow:
            slow.setattr(Peer, "ask", lambda *_: None)  # it takes the head, and its time
            slow.setattr(feeding, "_LAST_SECONDS", 0.2)
            await log.durable(event(3))
            began = time.monotonic()
            await asyncio.to_thread(log.close)
            assert time.monotonic() - began < 2
        assert shown(born) == 3
        born.open(witnesses=feeder(born, them)).close()
        assert shown(born) == 4
