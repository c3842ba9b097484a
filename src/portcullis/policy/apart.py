"""Compiling a large policy in a process of its own, so that no call waits for it.

Reading YAML and compiling Rego hold the interpreter's lock: in a thread beside the event loop they
would slow down every call until they are done. Run as ``python -m portcullis.policy.apart MODULE
NAME``, where the function NAME of MODULE judges JSON Schema fragments: the files come in on
standard input and the policy goes out on standard output.
"""

from __future__ import annotations

import gc
import importlib
import os
import subprocess
import sys
from typing import Final

import msgspec

from portcullis.core.errors import Problem
from portcullis.policy.bounds import Fragment
from portcullis.policy.child import environment
from portcullis.policy.engine import CompiledPolicy, Engine, RegorusEngine
from portcullis.policy.pdp import compile_files
from portcullis.policy.source import SourceFile

LARGE: Final = 65_536
"""Characters from which on a policy is compiled apart; a smaller one takes a moment."""
_SECONDS: Final = 120.0
_NICE: Final = 5
"""Where processors are short, calls that are answered go first: they get three times as much."""


class _Compiled(msgspec.Struct, frozen=True):
    """What came of it: a policy, or what is wrong with it."""

    policy: CompiledPolicy | None = None
    code: str = ""
    detail: str = ""
    hint: str | None = None


_files = msgspec.msgpack.Decoder(tuple[SourceFile, ...]).decode
_compiled = msgspec.msgpack.Decoder(_Compiled).decode


def compile_apart(
    files: tuple[SourceFile, ...], fragment: Fragment, engine: Engine
) -> CompiledPolicy:
    """As ``compile_files``, and a large policy without the interpreter's lock. Blocks.

    Where no process can be started, or it does not do its part, it is compiled here.
    """
    if sum(len(file.text) for file in files) < LARGE:
        return compile_files(files, fragment, engine)
    found = _elsewhere(files, fragment)
    if found is None:
        return compile_files(files, fragment, engine)
    if found.policy is None:
        raise Problem(found.code, found.detail, hint=found.hint)
    return found.policy


def _elsewhere(files: tuple[SourceFile, ...], fragment: Fragment) -> _Compiled | None:
    module, name = getattr(fragment, "__module__", ""), getattr(fragment, "__qualname__", "")
    if getattr(sys.modules.get(module), name, None) is not fragment:
        return None  # a function that another process would not find
    argv = [sys.executable, "-P", "-m", "portcullis.policy.apart", module, name]
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            argv,
            input=msgspec.msgpack.encode(files),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
            timeout=_SECONDS,
            check=True,
        )
        return _compiled(done.stdout)
    except (OSError, subprocess.SubprocessError, msgspec.MsgspecError):
        return None


def main() -> None:
    """Compile what stands on standard input; what is garbage by then goes with the process."""
    gc.disable()
    os.nice(_NICE)
    module, name = sys.argv[1:]
    fragment: Fragment = getattr(importlib.import_module(module), name)
    try:
        files = _files(sys.stdin.buffer.read())
        found = _Compiled(compile_files(files, fragment, RegorusEngine()))
    except Problem as problem:
        found = _Compiled(None, problem.code, problem.detail, problem.hint)
    sys.stdout.buffer.write(msgspec.msgpack.encode(found))


if __name__ == "__main__":
    main()
