"""Does what a page of the docs says, in a folder of its own, and compares what is printed.

The ports that pages name are replaced by free ones, in commands, files and the configuration that
``portcullis init`` writes.
"""

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from docs_pages import Command, File, steps

SECONDS = 90
SHOWN = 3000
"""So much of what is printed stands in an error."""
PORTS = ("7300", "7301", "7302", "7310", "7320")


class PageError(AssertionError):
    """A page says something else than what happens."""


class Shell:
    """One bash that keeps its variables; ``folder`` is where it works, ``said`` what it reads."""

    def __init__(self, folder: Path, said: str = "") -> None:
        self._folder = folder
        self._count = 0
        programs = Path(sys.executable).parent
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(folder),
            "XDG_CACHE_HOME": cache,
            "LANG": "C.UTF-8",
            "COLUMNS": "100",
        }
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._bash.stdin.write(said)

    def run(self, command: str, *, background: bool) -> tuple[Path, int]:
        """The file with what it prints, and its exit code: 0 for one that stays."""
        self._count += 1
        printed = self._folder / f".printed-{self._count}"
        printed.touch()
        where = f"</dev/null >{printed} 2>&1"
        whole = f"{command} {where} &" if background else f"{{\n{command}\n}} {where}"
        self._bash.stdin.write(f"{whole}\nprintf '%s\\n' $?\n")
        self._bash.stdin.flush()
        if not select.select([self._bash.stdout], [], [], SECONDS)[0]:
            raise PageError(f"{command}: does not end; it printed:\n{printed.read_text()}")
        return printed, int(self._bash.stdout.readline())

    def close(self) -> None:
        """End it and all that it left running: that is its own process group's."""
        try:
            self._bash.communicate("trap '' TERM; kill 0; wait; exit\n", timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(self._bash.pid, signal.SIGKILL)
            self._bash.communicate()


class Reader:
    """Somebody who does what a page says, in a bash that was told ``said`` first."""

    def __init__(self, folder: Path, stack: ExitStack, said: str = "") -> None:
        self._folder = folder
        self._shell = Shell(folder, said)
        stack.callback(self._shell.close)
        self._staying: set[str] = set()
        self._ports = dict(zip(PORTS, _free(len(PORTS)), strict=True))

    def follow(self, page: Path) -> int:
        """Do all that it says; how many commands. Raises PageError where the page is wrong.

        What an earlier page left running in another terminal is not started again.
        """
        count = 0
        for step in steps(page):
            if isinstance(step, File):
                (self._folder / step.name).parent.mkdir(parents=True, exist_ok=True)
                (self._folder / step.name).write_text(self._here(step.text), encoding="utf-8")
            elif step.text not in self._staying:
                self._do(step)
                count += 1
        return count

    def _do(self, step: Command) -> None:
        if step.background:
            self._staying.add(step.text)
        command = self._here(step.text)
        printed, code = self._shell.run(command, background=step.background)
        wanted = tuple(map(self._here, step.printed))
        until = time.monotonic() + (SECONDS if step.background else 0)
        while (missing := absent(wanted, text := printed.read_text(errors="replace"))) and (
            time.monotonic() < until
        ):
            time.sleep(0.05)
        if missing or code != step.code:
            raise PageError(f"$ {command}\nexit {code}; missing: {missing!r} in\n{text[-SHOWN:]}")
        for file in self._folder.glob("*.yaml"):
            said = file.read_text(encoding="utf-8")
            if (here := self._here(said)) != said:
                file.write_text(here, encoding="utf-8")

    def _here(self, text: str) -> str:
        return re.sub(rf"\b({'|'.join(self._ports)})\b", lambda found: self._ports[found[0]], text)


def absent(wanted: tuple[str, ...], text: str) -> str:
    """The first wanted line that the text does not have after the one before; "" when it has all.

    Spaces count once, however many; ``...`` stands for anything.
    """
    lines = [" ".join(line.split()) for line in text.splitlines()]
    place = 0
    for line in wanted:
        parts = (re.escape(" ".join(part.split())) for part in line.split("..."))
        form = re.compile(".*".join(parts))
        found = next((n for n in range(place, len(lines)) if form.fullmatch(lines[n])), None)
        if line.strip() == "...":
            continue
        if found is None:
            return line
        place = found + 1
    return ""


def _free(count: int) -> list[str]:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [str(one.getsockname()[1]) for one in held]
