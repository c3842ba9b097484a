"""``portcullis mcp`` for tests that start it a hundred times: forks of a process that has loaded.

Loading, and making the detectors, takes two seconds of processor time, and each agent of a session
needs a wrapper of its own. That the program starts by itself is tests/e2e/execution's to show.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import docs_programs


@contextlib.contextmanager
def wrapper(folder: Path) -> Iterator[list[str]]:
    """The command that is ``portcullis``, but for what follows; ``folder`` is there and empty."""
    place, shim = folder / "wrappers", folder / "shim.py"
    shim.write_text(docs_programs.SHIM, encoding="utf-8")
    real = Path(sys.executable).with_name("portcullis")
    serving = subprocess.Popen([sys.executable, __file__, str(place)])
    try:
        end = time.monotonic() + 60
        while not place.exists() and serving.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        yield [sys.executable, "-IS", str(shim), str(place), str(real), "portcullis"]
    finally:
        serving.terminate()
        try:
            serving.wait(10)
        except subprocess.TimeoutExpired:
            serving.kill()
            serving.wait(10)


def _load() -> None:
    from portcullis import bootstrap, cli  # noqa: PLC0415 - this process only
    from portcullis.inspection import build  # noqa: PLC0415 - the same

    cli._app("mcp")
    assert bootstrap.wrap_stdio
    build.build(cache=build.own_cache())


if __name__ == "__main__":
    _load()
    docs_programs.serve(sys.argv[1])
