"""Commands of ``portcullis`` in this process: a process of its own is 1.5 s of loading for each."""

import contextlib
import io
import os
import subprocess
import sys
from unittest import mock

from portcullis.cli import main


def run(*words, cwd=None, env=None):
    """A command to its end, in the folder ``cwd`` and with ``env`` added to the environment.

    What it printed and its exit code, as ``subprocess.run`` says it with ``text=True``. Not from
    within a running event loop: there, in a thread.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.ExitStack() as stack:
        if cwd is not None:
            stack.enter_context(contextlib.chdir(cwd))
        stack.enter_context(mock.patch.dict(os.environ, env or {}))
        stack.enter_context(mock.patch.object(sys, "argv", ["portcullis", *map(str, words)]))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    said, told = (one.buffer.getvalue().decode() for one in (out, err))
    return subprocess.CompletedProcess(words, code, said, told)
