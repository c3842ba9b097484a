"""The load of ``bench identity`` in front of a gate whose behaviour is known exactly."""

import socket
import threading
import time
from contextlib import suppress

import pytest

from domains import Domain, server_context
from portcullis.bench.identity_load import Plan, run
from portcullis.client.svid import svid

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
JSON = b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"ok":1}'
REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}"
LAST = b"data: PC4001\n\n"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


class Gate:
    """Serves until ``cut``; then it ends what is the agent's, by the rules of the test."""

    def __init__(self, domain, *, last=LAST, closes=True, takes_all=False, lets_back=False):
        self.last, self.closes, self.lets_back = last, closes, lets_back
        self.victims = ("agent/agent", "agent/neighbour") if takes_all else ("agent/agent",)
        shown, key = domain.own().current()
        self.context = server_context(shown.chain, key, asks=domain.authority.bundle().x509)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.cut_at = None
        self.idle = []
        self.over = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        self.cut_at = time.monotonic()
        for each in self.idle if self.closes else ():
            socket.socket.shutdown(each, socket.SHUT_RDWR)  # not of TLS: its reader has that

    def _accept(self):
        with suppress(OSError):
            while True:
                raw, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw):
        with suppress(OSError), self.context.wrap_socket(raw, server_side=True) as link:
            who = dict(link.getpeercert()["subjectAltName"])["URI"]
            cuttable = who.endswith(self.victims)
            if cuttable and self.cut_at is not None and not self.lets_back:
                return
            while request := link.recv(65536):
                if b"\r\n\r\n" not in request or not request.split(b"\r\n\r\n", 1)[1]:
                    request += link.recv(65536)
                if b'"stream":true' in request:
                    self._stream(link, cuttable)
                    return
                link.sendall(JSON)
                if cuttable:
                    self.idle.append(link)

    def _stream(self, link, cuttable):
        link.sendall(HEAD + chunk(b"data: first\n\n"))
        while self.cut_at is None or not cuttable:
            link.sendall(chunk(b"data: more\n\n"))
            if self.over.wait(0.01):
                return
        if not self.closes:
            self.over.wait(5)
        link.sendall(chunk(self.last) + chunk(b""))


@pytest.fixture
def domain(tmp_path):
    return Domain("bench.test", tmp_path)


@pytest.fixture
def watch(domain):
    def identity(name):
        chain, key = domain.identity(f"/agent/{name}")
        return svid(chain, key, domain.authority.bundle().x509, time.time())

    def one(seconds=5.0, **how):
        gate = Gate(domain, **how)
        plan = Plan(
            port=gate.port,
            agent=identity("agent"),
            neighbour=identity("neighbour"),
            connections=5,
            streams=3,
            askers=0,
            kept_connections=2,
            kept_streams=2,
            seconds=seconds,
        )
        timer = threading.Timer(0.2, gate.cut)
        try:
            outcome = run(plan, timer.start)
        finally:
            timer.cancel()
            gate.over.set()
            gate.listener.close()
        return outcome, gate.cut_at

    return one


def test_each_end_is_noted_when_it_came_and_the_neighbour_is_seen_to_go_on(watch):
    outcome, cut_at = watch()
    assert (len(outcome.connections), len(outcome.streams), outcome.told) == (5, 3, 3)
    assert all(0 <= at - cut_at < 0.2 for at in (*outcome.connections, *outcome.streams))
    assert cut_at - 0.1 < outcome.content < cut_at + 0.1
    assert outcome.refused
    assert outcome.unharmed


def test_what_does_not_end_is_not_counted_as_ended(watch):
    outcome, _ = watch(seconds=0.6, closes=False)
    assert outcome.connections == ()
    assert outcome.streams == ()


def test_a_stream_that_just_ends_was_not_told_why(watch):
    outcome, _ = watch(last=b"data: [DONE]\n\n")
    assert len(outcome.streams) == 3
    assert outcome.told == 0


def test_a_cut_that_takes_the_neighbour_too_is_noticed(watch):
    outcome, _ = watch(takes_all=True)
    assert not outcome.unharmed


def test_an_agent_that_comes_back_is_noticed(watch):
    outcome, _ = watch(lets_back=True)
    assert not outcome.refused
