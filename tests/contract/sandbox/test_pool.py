"""Warm boxes: each use has a box of its own, and nothing of the last one's."""

import asyncio

import pytest

from contract.sandbox.conftest import made
from contract.sandbox.groups import groups
from needs import missing
from portcullis.core.errors import Problem
from portcullis.core.sandbox import STRICT, Ending, Hold, Profile
from portcullis.execution.sandbox.outputs import Left
from portcullis.execution.sandbox.pool import Pool, Recipe, Task

pytestmark = pytest.mark.anyio

LEAVES = """
import os, subprocess
for place in ("/tmp/x", "/scratch/x", "/dev/shm/x"):
    print(os.path.exists(place))
    open(place, "w").write("left")
os.environ["X"] = "left"
print(sorted(n for n in os.listdir("/proc") if n.isdigit()) == ["1", "2"] or "more")
subprocess.Popen(["sleep", "60"], start_new_session=True)
"""


@pytest.fixture
async def pool():
    claims: list[str] = []
    sandbox = made("bubblewrap")
    if not sandbox.probe().enforces >= STRICT:
        missing("needs bubblewrap and control groups: see `make packages`")
    pool = Pool(
        sandbox,
        Recipe(title="warm", profile=Profile()),
        1,
        claimed=lambda title, box: claims.append(f"{title} {box.pid > 0}"),
    )
    pool.claims = claims
    await pool.open()
    yield pool
    await pool.close()
    assert not groups()


async def test_nothing_of_one_use_is_there_in_the_next(pool):
    said = [(await pool.run(Task(title="use", code=LEAVES))).stdout for _ in range(3)]
    assert said[0] == said[1] == said[2]
    assert b"True\nFalse" not in said[0]
    assert said[0].startswith(b"False\nFalse\nFalse\n")
    assert pool.claims == ["use True"] * 3


async def test_a_claim_beyond_those_that_are_ready_is_served(pool):
    assert pool.ready == 1
    tasks = [pool.run(Task(title=str(n), code=f"print({n})")) for n in range(3)]
    found = await asyncio.gather(*tasks)
    assert [one.stdout for one in found] == [b"0\n", b"1\n", b"2\n"]
    for _ in range(600):
        if pool.ready == 1:
            break
        await asyncio.sleep(0.05)
    assert pool.ready == 1


async def test_files_variables_and_input_go_in_and_files_come_out(pool):
    code = (
        "import os, sys, helper\n"
        "print(sys.stdin.read(), os.environ['A'], helper.value)\n"
        "open('out.bin', 'wb').write(b'\\0\\1')\n"
        "os.symlink('/etc/passwd', 'stolen')\n"
        "raise SystemExit(3)\n"
    )
    task = Task(
        title="t",
        code=code,
        stdin=b"input",
        files={"helper.py": b"value = 7\n", "sub/data": b"x" * 200_000},
        environ={"A": "b"},
        wanted=None,
    )
    found = await pool.run(task)
    assert (found.ended.why, found.ended.status) == (Ending.EXITED, 3)
    assert found.stdout == b"input b 7\n"
    assert found.files["out.bin"] == b"\0\1"
    assert "helper.py" not in found.files
    assert found.left == {"stolen": Left.LINK}


async def test_a_command_and_an_error_look_as_they_should(pool):
    argv = ("/bin/sh", "-c", "cat; echo $A; exit 4")
    found = await pool.run(Task(title="t", argv=argv, stdin=b"in\n", environ={"A": "b"}))
    assert (found.ended.status, found.stdout) == (4, b"in\nb\n")
    found = await pool.run(Task(title="t", code="def f():\n    1 / 0\nf()\n"))
    lines = found.stderr.decode().splitlines()
    assert lines[:2] == [
        "Traceback (most recent call last):",
        '  File "code.py", line 3, in <module>',
    ]
    assert lines[-1] == "ZeroDivisionError: division by zero"


async def test_time_and_output_are_bounded(pool):
    found = await pool.run(Task(title="t", code="print('x' * 99, flush=True)\nwhile True: pass",
                                seconds=0.3, output=10))  # fmt: skip
    assert found.ended.why is Ending.DEADLINE
    assert (found.stdout, found.cut) == (b"x" * 10, True)


async def test_whoever_gives_up_ends_the_box_at_once(pool):
    task = asyncio.ensure_future(pool.run(Task(title="t", code="import time; time.sleep(60)")))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await pool.run(Task(title="t", code="print(1)"))).stdout == b"1\n"


async def test_a_claim_that_cannot_be_noted_runs_nothing(pool, tmp_path):
    def refuse(_title, _box):
        raise Problem("PC6001", "the log is full")

    pool._claimed = refuse
    with pytest.raises(Problem) as caught:
        await pool.run(Task(title="t", code="print(1)"))
    assert caught.value.code == "PC6001"


async def test_what_cannot_be_held_is_refused_and_not_waited_for():
    demanding = Profile(name="own", demands=STRICT | {Hold.KERNEL})
    pool = Pool(made("bubblewrap"), Recipe(title="t", profile=demanding), 2)
    await pool.open()
    assert pool.ready == 0
    with pytest.raises(Problem) as caught:
        await pool.run(Task(title="t", code="print(1)"))
    assert caught.value.code == "PC5030"
    await pool.close()
    with pytest.raises(Problem) as caught:
        await pool.run(Task(title="t", code="print(1)"))
    assert caught.value.code == "PC5013"
