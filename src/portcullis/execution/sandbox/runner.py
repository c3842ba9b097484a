"""The program that waits in a warm box: standard library only, and never imported by us.

It reads one frame from standard input (eight bytes of length, then JSON), writes the files that it
was given, and becomes the program: Python code in this interpreter, or a command by exec. The box
ends with it. ``files`` and ``stdin`` are base64.
"""

import atexit
import base64
import json
import linecache
import os
import sys
import threading
import traceback
from types import TracebackType
from typing import Any

NAME = "code.py"


def exactly(size: int) -> bytes:
    """That many bytes of standard input; fewer where it ends before."""
    text = b""
    while len(text) < size:
        part = os.read(0, min(size - len(text), 1 << 20))
        if not part:
            break
        text += part
    return text


def wait() -> Any:
    """The frame, or None where the other end was closed: nobody wants this box any more."""
    head = exactly(8)
    size = int.from_bytes(head, "big")
    body = exactly(size) if len(head) == 8 else b""  # noqa: PLR2004 - said above
    return json.loads(body) if body and len(body) == size else None


def prepare(frame: Any) -> None:
    """Files, variables and standard input as the frame has them."""
    for name, text in frame["files"].items():
        directory = os.path.dirname(name)  # noqa: PTH120 - pathlib takes longer to import
        if directory:
            os.makedirs(directory, exist_ok=True)  # noqa: PTH103 - as above
        with open(name, "wb") as file:  # noqa: PTH123 - as above
            file.write(base64.b64decode(text))
    os.environ.update(frame["environ"])
    given = os.memfd_create("stdin", 0)
    text = base64.b64decode(frame["stdin"])
    while text:
        text = text[os.write(given, text) :]
    os.lseek(given, 0, os.SEEK_SET)
    os.dup2(given, 0)
    os.close(given)


def told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A traceback of the code alone, without this file."""
    while trace is not None and trace.tb_frame.f_code.co_filename != NAME:
        trace = trace.tb_next
    traceback.print_exception(kind, error, trace)


def main() -> None:
    """Wait, and become what came."""
    frame = wait()
    if frame is None:
        return
    prepare(frame)
    if frame["argv"]:
        os.execvp(frame["argv"][0], frame["argv"])  # noqa: S606 - without a shell is what is meant
    code = frame["code"]
    sys.argv = [NAME]
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as above
    sys.excepthook = told
    # A traceback shows the lines of the code, which is in no file.
    linecache.cache[NAME] = (len(code), None, code.splitlines(keepends=True), NAME)
    names = {"__name__": "__main__", "__builtins__": __builtins__}
    exec(compile(code, NAME, "exec"), names)  # noqa: S102 - that is what the box is for
    # The interpreter's own end, without taking it apart: the box goes at once anyway.
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - waits for threads
    atexit._run_exitfuncs()  # noqa: SLF001
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
