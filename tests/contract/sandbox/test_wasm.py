"""Boxes for pure functions: what goes in comes out, and nothing else is to be had."""

import asyncio
import os
import tempfile

import pytest

from portcullis.core.errors import Problem
from portcullis.core.sandbox import STRICT, Ending, Hold, Mount, Network, Order, Profile, Streams
from portcullis.execution.sandbox.wasm import Wasmtime

wasmtime = pytest.importorskip("wasmtime", reason="needs the extra wasm")
pytestmark = pytest.mark.anyio

HEAD = """(module
  (import "wasi_snapshot_preview1" "fd_read"
    (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get"
    (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
"""
ECHO = """  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 4096))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 4) (i32.load (i32.const 8)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
    (drop (call $sizes (i32.const 16) (i32.const 20)))
    (call $exit (i32.load (i32.const 16)))))
"""
LOOP = '  (func (export "_start") (loop (br 0))))'
GROW = """  (func (export "_start")
    (if (i32.eq (memory.grow (i32.const 4096)) (i32.const -1)) (then (call $exit (i32.const 5))))))
"""
OPEN = """  (func (export "_start") (drop (call $open (i32.const 3) (i32.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0)))))
"""
OUTSIDE = """  (func (export "_start")
    (i32.store (i32.const 0) (i32.const -16)) (i32.store (i32.const 4) (i32.const 64))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
"""


@pytest.fixture
def call(tmp_path):
    async def run(body, *, stdin=b"", kill=False, environ=None, **changes):
        module = tmp_path / "f.wasm"
        module.write_bytes(wasmtime.wat2wasm(HEAD + body))
        order = Order(
            title="t",
            argv=("/f.wasm", "word"),
            profile=Profile(**changes),
            environ=environ or {},
            mounts=(Mount(source=module, target="/f.wasm"),),
        )
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out:
            given.write(stdin)
            given.seek(0)
            streams = Streams(stdin=given.fileno(), stdout=out.fileno(), stderr=out.fileno())
            box = await Wasmtime().start(order, streams)
            if kill:
                await asyncio.sleep(0.1)
                await asyncio.gather(box.kill(), box.kill())
            async with asyncio.timeout(30):
                ended = await box.wait()
            await box.close()
            out.seek(0)
            return ended, out.read()

    return run


async def test_input_becomes_output_and_the_environment_is_the_orders(call):
    ended, out = await call(ECHO, stdin=b"in", environ={"A": "1", "B": "2"})
    assert (ended.why, ended.status, out) == (Ending.EXITED, 2, b"in")
    ability = Wasmtime().probe()
    assert ability.enforces >= STRICT | {Hold.INSTRUCTIONS}
    assert Hold.KERNEL in ability.lacking


async def test_instructions_time_and_memory_are_bounded(call):
    ended, _ = await call(LOOP, seconds=60, cpu=0.001)
    assert (ended.why, ended.status) == (Ending.DEADLINE, 137)
    ended, _ = await call(LOOP, seconds=0.2, cpu=1000)
    assert ended.why is Ending.DEADLINE
    ended, _ = await call(GROW, memory=2**20)
    assert (ended.why, ended.status) == (Ending.EXITED, 5)
    ended, _ = await call(LOOP, kill=True)
    assert (ended.why, ended.status) == (Ending.KILLED, 137)


async def test_a_file_cannot_be_opened_and_memory_is_its_own(call):
    for body in (OPEN, OUTSIDE):
        ended, out = await call(body)
        assert (ended.why, ended.status, out) == (Ending.SIGNALLED, 134, b"")


async def test_what_is_no_module_or_wants_a_network_is_refused(tmp_path):
    (tmp_path / "large").write_bytes(b"\0" * (16 * 2**20 + 1))
    nothing = os.open(os.devnull, os.O_RDWR)
    streams = Streams(stdin=nothing, stdout=nothing, stderr=nothing)
    mount = Mount(source=tmp_path, target="/m")
    for argv, network in ((("/bin/true",), "none"), (("/m/large",), "none"), (("/m/x",), "gate")):
        order = Order(
            title="t", argv=argv, profile=Profile(network=Network(network)), mounts=(mount,)
        )
        with pytest.raises(Problem) as caught:
            await Wasmtime().start(order, streams)
        assert caught.value.code == "PC5032"
    (tmp_path / "broken").write_bytes(b"\0asm broken")
    order = Order(title="t", argv=("/m/broken",), profile=Profile(), mounts=(mount,))
    box = await Wasmtime().start(order, streams)
    assert (await box.wait()).status == 134
    os.close(nothing)
