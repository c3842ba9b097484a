import subprocess
import sys

import pytest

from portcullis.bench import cpu

BURN = """
import subprocess, sys, threading, time

def burn():
    began = time.thread_time()
    while time.thread_time() < began + 0.3:
        pass

def turn():
    one, two = threading.Thread(target=burn), threading.Thread(target=burn)
    one.start(); two.start(); one.join(); two.join()

child = None
if len(sys.argv) == 1:
    child = subprocess.Popen([sys.executable, __file__, "child"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
print("ready", flush=True)
for _ in sys.stdin:
    turn()
    if child:
        child.stdin.write(b"go\\n"); child.stdin.flush(); child.stdout.readline()
    print("done", flush=True)
"""


@pytest.fixture
def burner(tmp_path):
    script = tmp_path / "burn (a name).py"
    script.write_text(BURN)
    with subprocess.Popen(
        [sys.executable, script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        child.stdout.readline()
        yield child
        child.stdin.close()


def test_processor_time_covers_all_threads_and_children_of_what_is_measured(burner):
    pids = cpu.members(burner.pid)
    assert len(pids) == 2
    before = cpu.seconds(pids)
    burner.stdin.write(b"go\n")
    burner.stdin.flush()
    burner.stdout.readline()
    # Two threads of 0.3 s in each of two processes; four clocks of 10 ms ticks.
    assert cpu.seconds(pids) - before == pytest.approx(1.2, abs=0.08)


def test_a_process_that_is_gone_does_not_end_a_measurement():
    with subprocess.Popen([sys.executable, "-c", ""], start_new_session=True) as child:
        child.wait()
    assert cpu.members(child.pid) == ()
    assert cpu.seconds((child.pid,)) == 0
