import pytest

from portcullis.bench.connection import BROKEN
from portcullis.bench.load import percentile


def test_an_open_loop_counts_the_time_that_calls_wait_for_a_slow_server(serve, drive):
    # 20 ms each on one connection serve 50 calls/s: at 100 calls/s the queue grows all the time.
    slow = serve(delay=0.02)
    closed = drive(slow, seconds=0.5)
    opened = drive(slow, seconds=0.5, rate=100.0)
    assert 18 < closed.p50_ms < 80
    assert opened.p99_ms > 150
    assert opened.p50_ms > 2 * closed.p50_ms


def test_an_open_loop_below_capacity_offers_its_rate_and_shows_the_servers_own_latency(
    serve, drive
):
    outcome = drive(serve(delay=0.005), connections=20, seconds=1.0, rate=300.0)
    assert 220 < outcome.calls / outcome.seconds < 380
    assert 4.5 < outcome.p50_ms < 40


def test_calls_that_are_never_answered_count_as_slow_not_as_absent(serve, drive):
    outcome = drive(serve(answer=None), connections=2, seconds=0.2, rate=50.0)
    assert outcome.calls == 0
    assert outcome.p50_ms > 1900


def test_the_calls_counted_are_the_calls_served(serve, drive):
    server = serve()
    outcome = drive(server, connections=4)
    assert 0 <= server.served - outcome.calls <= 4
    assert outcome.errors == 0


def test_the_warm_up_is_not_counted(serve, drive):
    server = serve(delay=0.05)
    outcome = drive(server, seconds=0.1, warm=0.3)
    assert outcome.calls <= 3
    assert server.served >= 6


@pytest.mark.parametrize(
    ("answer", "first"),
    [
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", 503),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\noops", BROKEN),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 99\r\n\r\n{}", BROKEN),
    ],
)
def test_a_wrong_answer_is_an_error_and_never_a_fast_call(serve, drive, answer, first):
    outcome = drive(serve(answer=answer), seconds=0.1)
    assert outcome.calls == 0
    assert outcome.errors > 0
    assert outcome.first_error == first


def test_a_server_that_closes_after_each_answer_can_be_measured_too(serve, drive):
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    outcome = drive(serve(answer=answer), connections=2)
    assert outcome.calls > 4
    assert outcome.errors == 0


def test_percentiles_are_nearest_rank():
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile([7.0], 0.99) == 7
    assert percentile([], 0.99) == 0
