"""If these fail, a figure about the firewall is not what it says it is."""

import asyncio
import json
import sys
import time
from http.client import HTTPConnection

import msgspec
import pytest
import yaml
from typer.testing import CliRunner

from portcullis import cli
from portcullis.bench import firewall, firewall_peers, firewall_stub, firewall_timed
from portcullis.bench.firewall_gate import (
    body,
    check_figures,
    first_token,
    inspect_nothing,
    token_figures,
)
from portcullis.bench.firewall_read import cheapest
from portcullis.bench.firewall_stream import held_back
from portcullis.bench.firewall_texts import KINDS, OPENINGS, WORST, ordinary, pieces, worst
from portcullis.bench.firewall_timed import Inspected, Spent
from portcullis.bench.gate import AGENT, policy
from portcullis.catalogue.schema import fault
from portcullis.checks.inspect import Inspect
from portcullis.checks.rules import Rules
from portcullis.core.call import Context
from portcullis.core.check import Progress
from portcullis.core.errors import Problem
from portcullis.core.inspection import Category, Channel, Source, Treatment
from portcullis.core.principal import Principal, PrincipalKind
from portcullis.core.verdict import Deny
from portcullis.policy.engine import RegorusEngine
from portcullis.policy.pdp import RegoPdp, load


@pytest.mark.parametrize("kind", KINDS)
def test_every_run_reads_the_same_ordinary_texts(kind):
    text = ordinary(kind, 1000)
    assert text == ordinary(kind, 1000)
    assert ordinary(kind, 10_000).startswith(text)
    assert len(text.encode()) == 1000


@pytest.mark.parametrize("kind", WORST)
def test_the_worst_texts_are_as_large_as_is_said(kind):
    assert 9990 <= len(worst(kind, 10_000).encode()) <= 10_000


def test_chunks_make_up_the_text():
    text = ordinary("chat", 990)
    chunks = pieces(text, 20)
    assert "".join(chunks) == text
    assert {len(chunk) for chunk in chunks[:-1]} == {20}


def test_a_round_that_was_disturbed_does_not_count(monkeypatch):
    clock = iter([0.0, 1.0, 10.0, 19.0, 20.0, 23.0, 30.0, 38.0])
    monkeypatch.setattr(time, "thread_time", lambda: next(clock))
    assert cheapest(lambda: None, 0.5, 3) == 3.0


class Judge:
    """Settles whole words only, and ends the stream at a full stop."""

    def __init__(self):
        self.text_so_far = ""

    def text(self, key, piece, *, last):
        self.text_so_far += piece
        if "." in piece:
            return Deny(code="PC3021", reason="")
        return Progress(settled=self.text_so_far.rfind(" ") + 1)


def test_held_characters_are_those_that_came_and_may_not_go_on():
    assert held_back(Judge(), ["some", " words", " ", "more"]) == [4, 5, 0, 4]


def test_an_ordinary_stream_that_is_ended_gives_no_figure():
    with pytest.raises(Problem, match="PC3021"):
        held_back(Judge(), ["a sentence", ".", "more"])


def test_the_first_token_is_compared_answer_by_answer_at_each_gates_best():
    found = token_figures(
        opened=[[0.010, 0.090], [0.020, 0.020], [0.030, 0.031]],
        closed=[[0.080, 0.012], [0.021, 0.030], [0.050, 0.041]],
    )
    assert found["first_token_added_ms"] == pytest.approx(14 / 3)
    assert found["first_token_added_p50_ms"] == pytest.approx(2)
    assert found["first_token_added_max_ms"] == pytest.approx(11)
    assert found["first_token_open_ms"] == pytest.approx(20)


def test_only_calls_under_the_measured_load_count_for_the_check():
    calls = {
        "before": Spent(0.9, 9.0, 9.0),
        "a": Spent(1.0, 0.001, 0.001),
        "b": Spent(1.5, 0.003, 0.002),
        "later": Spent(2.1, 0.007, 0.004),
        "after": Spent(3.0, 9.0, 9.0),
    }
    found = check_figures(Inspected(calls=calls), [(1.0, 2.0), (2.0, 3.0)])
    assert found["check_p99_ms"] == pytest.approx(3)
    assert found["check_p99_worst_ms"] == pytest.approx(7)
    assert found["check_p50_ms"] == pytest.approx(1)
    assert found["check_processor_p99_ms"] == pytest.approx(4)
    assert found["check_calls"] == 3
    with pytest.raises(Problem, match="no call"):
        check_figures(Inspected(calls=calls), [(1.0, 2.0), (4.0, 5.0)])


def test_all_steps_of_the_check_count_for_a_call(monkeypatch):
    async def prepare(check, call, *rest):
        return ("prepared", *rest)

    def judge(check, call, *rest):
        time.sleep(0.002)
        return ("judged", *rest)

    for name, step in {
        "prepare": prepare,
        "judge": judge,
        "prepare_result": prepare,
        "judge_result": judge,
    }.items():
        monkeypatch.setattr(Inspect, name, step)  # put back at the end, whatever replaced it
    seen = Inspected()
    firewall_timed.watch(seen)
    check, call = object.__new__(Inspect), msgspec.convert({"id": "c1"}, _Call)
    assert asyncio.run(check.prepare(call, "context")) == ("prepared", "context")
    assert check.judge(call, "context", "facts") == ("judged", "context", "facts")
    assert check.judge_result(call, "context", "result", "facts")[0] == "judged"
    assert asyncio.run(check.prepare_result(call, "context", "result"))[0] == "prepared"
    assert list(seen.calls) == ["c1"]
    assert seen.calls["c1"].clock >= 0.004 > seen.calls["c1"].processor


class _Call(msgspec.Struct):
    id: str


def test_the_gate_that_is_compared_with_looks_for_nothing(tmp_path):
    file = tmp_path / "main.yaml"
    file.write_text(yaml.safe_dump(policy()))
    inspect_nothing(file)
    engine = RegorusEngine()
    pdp = RegoPdp(load(tmp_path, fragment=fault, engine=engine), engine)
    who = Principal(kind=PrincipalKind.AGENT, id=AGENT, credential="t", expires_at=2e9)
    context = Context(principal=who, session=None, source="t", trace_id="", received_at=0.0)
    profile = pdp.profile(context)
    rules = Rules((profile,), {"ANY": frozenset(Category)})
    assert not any(rules.wanted(channel) for channel in Channel)
    assert {rules.injection(source) for source in Source} == {Treatment.ALLOW}
    assert not rules.canaries


def _said(asked):
    """The answer of the model that is stood in for, message by message."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": asked}

    async def send(message):
        sent.append(message)

    asyncio.run(firewall_stub.app({"type": "http", "path": "/"}, receive, send))
    return sent


def test_the_model_says_the_same_to_both_gates(monkeypatch):
    monkeypatch.setattr(firewall_stub, "PACE", 0.0)
    number = len(OPENINGS) + 2
    one, two = (_said(body(stream=True, seed=number)) for _ in range(2))
    assert one == two
    events = [msgspec.json.decode(m["body"][6:].split(b"\n")[0]) for m in one[1:-1]]
    said = [event["choices"][0]["delta"].get("content", "") for event in events]
    assert tuple(said[1:-1]) == OPENINGS[2]
    assert one[-2]["body"].endswith(b"data: [DONE]\n\n")


def test_without_a_stream_the_model_answers_with_a_kilobyte():
    answer = msgspec.json.decode(_said(body())[1]["body"])
    assert len(answer["choices"][0]["message"]["content"]) == 1000


def _sse(*events, tail=b"data: [DONE]\n\n"):
    content = b"".join(b"data: %s\n\n" % event for event in events) + tail
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content)


def test_the_first_token_is_the_first_that_says_something(serve):
    events = (b'{"delta":{"content":""}}', b'{"delta":{"content":"Yes"}}')
    server = serve(answer=_sse(*events), delay=0.05)
    link = HTTPConnection("127.0.0.1", server.port)
    assert 0.05 <= first_token(link, "none", b"{}") < 5


@pytest.mark.parametrize(
    "answer",
    [
        _sse(b'{"delta":{"content":""}}'),
        _sse(b'{"delta":{"content":"Yes"}}', tail=b'data: {"error":{}}\n\n'),
        _sse(b'{"delta":{"content":"Yes"}}').replace(b"200 OK", b"403 No"),
    ],
    ids=["no token", "no end", "refused"],
)
def test_a_stream_that_is_not_answered_rightly_gives_no_figure(serve, answer):
    link = HTTPConnection("127.0.0.1", serve(answer=answer).port)
    with pytest.raises(Problem, match="not answered rightly"):
        first_token(link, "none", b"{}")


@pytest.fixture
def python(tmp_path):
    """Makes something that stands in for the peers' Python and prints so."""

    def made(script):
        file = tmp_path / "python"
        file.write_text(
            f"#!{sys.executable}\nimport json, sys\nasked = json.load(sys.stdin)\n{script}"
        )
        file.chmod(0o700)
        return file

    return made


def test_peers_read_the_same_texts_and_get_the_same_figures(python):
    stand_in = python(
        "assert asked['rounds'] == 3 and len(asked['texts']['10k_log']) == 10_000\n"
        "taken = {name: len(text) / 1e6 for name, text in asked['texts'].items()}\n"
        "for peer in ('presidio', 'litellm'):\n"
        "    print(json.dumps(dict(peer=peer, version='1', rules=7, seconds=taken)))\n"
    )
    found = firewall_peers.measure_peers(stand_in, 0.01, 3)
    assert found["presidio_1k_chat_us"] == pytest.approx(1000)
    assert found["litellm_10k_us"] == pytest.approx(10_000)
    assert found["litellm_10k_mean_us"] == pytest.approx(10_000)
    assert found["presidio_rules"] == 7


@pytest.mark.parametrize(
    ("script", "reason"), [("sys.exit('out of order')", "out of order"), ("", "make bench-peers")]
)
def test_peers_that_do_not_answer_are_an_error_and_not_a_zero(python, script, reason):
    with pytest.raises(Problem, match=reason):
        firewall_peers.measure_peers(python(script), 0.01, 1)


def test_the_script_for_the_peers_runs_without_anything_of_ours(tmp_path):
    with pytest.raises(Problem, match="none of the peers is installed"):
        firewall_peers.measure_peers(sys.executable, 0.01, 1)
    with pytest.raises(Problem, match="FileNotFoundError"):
        firewall_peers.measure_peers(tmp_path / "none", 0.01, 1)


@pytest.fixture
def measured(monkeypatch):
    """Stands in for all that measures; returns what was asked for."""
    asked = []
    figures = {
        "measure_read": {"read_1k_us": 61.0, "read_1k_chat_us": 61.0, "read_10k_us": 400.0},
        "measure_parts": {"part_1k_patterns_us": 30.0},
        "measure_worst": {"worst_1m_ms": 50.0},
        "measure_stream": {"stream_chunk_us": 9.0},
        "measure_peers": {"presidio_1k_us": 5000.0, "presidio_1k_chat_us": 5000.0},
        "measure_gate": {"first_token_added_ms": 1.0, "check_p99_ms": 3.0},
    }

    def stand_in(name, found):
        def measure(*arguments):
            asked.append(name)
            return found

        monkeypatch.setattr(firewall, name, measure)

    for name, found in figures.items():
        stand_in(name, found)
    return asked


def run(*arguments):
    return CliRunner().invoke(cli._app("bench"), ["bench", "firewall", *arguments])


def test_every_promise_is_held_against_its_figure(measured):
    result = json.loads(run("--json").stdout)
    assert result["command"] == "bench firewall"
    assert {name: one["met"] for name, one in result["targets"].items()} == {
        "read_1k_us": False,
        "read_10k_us": True,
        "worst_1m_ms": True,
        "first_token_added_ms": True,
        "check_p99_ms": False,
    }
    assert "measure_peers" not in measured


def test_what_was_not_measured_is_not_said_to_be_kept(measured):
    result = json.loads(run("--json", "--only", "gate").stdout)
    assert sorted(result["targets"]) == ["check_p99_ms", "first_token_added_ms"]
    assert measured == ["measure_gate"]


def test_people_are_told_that_the_peers_are_missing(measured, tmp_path):
    said = run().stdout
    assert "peers were not measured" in said
    assert "read_1k_us" in said
    assert "NOT MET" in said
    with_peers = run("--peers", str(tmp_path)).stdout
    assert "peers were not measured" not in with_peers
    assert "5,000" in with_peers
    assert all(len(line) <= 80 for line in with_peers.splitlines())
