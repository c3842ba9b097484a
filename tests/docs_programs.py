"""Python that has loaded already: ``portcullis`` and ``python3`` for a shell, each in a fork of it.

Loading takes a second of processor time, and pages have a hundred commands. Run with the name of a
Unix socket, this serves; ``SHIM`` is what a shell runs instead of the programs. What stays (a gate,
a side process, a demonstration) is started as it is everywhere.
"""

import contextlib
import gc
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

SHIM = """
import json, os, socket, sys
place, real, name, *words = sys.argv[1:]
if name == "portcullis" and {"up", "demo", "connect"} & set(words[:2]) or not words:
    os.execv(real, [real, *words])
line = socket.socket(socket.AF_UNIX)
line.connect(place)
asked = json.dumps([name, words, os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(line, [len(asked).to_bytes(4, "big")], [0, 1, 2])
line.sendall(asked)
sys.exit(int(line.makefile().read() or 70))
"""
NOUNS = (
    *("agent", "application", "approval", "audit", "ca", "console", "credential", "evidence"),
    *("inspect", "keys", "operator", "policy", "review", "session"),
)


@contextlib.contextmanager
def programs(folder: Path) -> Iterator[str]:
    """What a bash has to read so that it runs the programs like this."""
    place, shim = folder / "programs", folder / "shim.py"
    shim.write_text(SHIM, encoding="utf-8")
    serving = subprocess.Popen([sys.executable, __file__, str(place)])
    try:
        while not place.exists() and serving.poll() is None:
            time.sleep(0.02)
        yield "".join(
            f'{name}() {{ {sys.executable} -IS {shim} {place} {real} {name} "$@"; }}\n'
            for name, real in (
                ("portcullis", Path(sys.executable).with_name("portcullis")),
                ("python3", sys.executable),
            )
        )
    finally:
        serving.terminate()
        serving.wait(10)


def _serve(place: str) -> None:
    for name in ("openai", "httpx2", "mcp", "mcp.client.streamable_http"):
        __import__(name)
    from portcullis import cli  # noqa: PLC0415 - this process only

    for noun in NOUNS:
        cli._app(noun)
    serve(place)


def serve(place: str) -> None:
    """Run what ``SHIM`` asks for at this socket, each in a fork of this process, for ever."""
    from portcullis import cli  # noqa: PLC0415 - this process only

    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place + ".new")
        listener.listen(16)
        os.rename(place + ".new", place)  # noqa: PTH104 - it is a text
        while True:
            line, _ = listener.accept()
            with line:
                if os.fork() == 0:
                    listener.close()
                    _run(line, cli.main)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:  # those that have ended since
                    continue


def _run(line: socket.socket, main: object) -> None:
    head, given, _, _ = socket.recv_fds(line, 4, 3)
    with line.makefile("rb") as text:
        name, words, folder, environment = json.loads(text.read(int.from_bytes(head, "big")))
    threading.Thread(target=_end_with, args=(line,), daemon=True).start()
    for number, file in enumerate(given):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    code = 0
    try:
        if name == "python3":
            sys.argv = words
            sys.path[0] = folder
            runpy.run_path(words[0], run_name="__main__")
        else:
            sys.argv = [name, *words]
            main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - it is told as Python tells it
        sys.excepthook(*sys.exc_info())
        code = 1
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    line.sendall(str(code).encode())
    os._exit(code)


def _end_with(line: socket.socket) -> None:
    """End when whoever asked has ended: what stays does not outlive its shell."""
    if not line.recv(1):
        os._exit(143)


if __name__ == "__main__":
    _serve(sys.argv[1])
