"""Does what a page of the docs says, in a folder of its own, and compares what is printed.

The ports that pages name are replaced by free ones, in commands, files and the configuration that
``portcullis init`` writes. What a page does not say but needs is in another page, *before* it: what
stands there under a heading is done before what stands under that heading in the page, and a word
in capitals for which it sets a variable (``ID=...``) stands for its value in the page's commands.
What stays is ended with the page, and must not have ended in a fault until then.
"""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from docs_pages import Command, File, sections
from ports import free_port

SECONDS = 90
SILENT = 2
"""So long it is waited for the first line of what stays, where a page does not show any."""
ANYTHING = "... ..."
ELSEWHERE = re.compile(r"(?:^|[\s=<>\"'])/(?!dev/)\w")
"""A path that is not in the folder of the test: no page writes there."""
SHOWN = 3000
"""So much of what is printed stands in an error."""
PORTS = ("7300", "7301", "7302", "7310", "7320")
ITS_OWN = "43511"
"""On pages this stands for the port that a side process finds for itself."""


class PageError(AssertionError):
    """A page says something else than what happens."""


class Shell:
    """One bash that keeps its variables; ``folder`` is where it works, ``said`` what it reads."""

    def __init__(self, folder: Path, said: str = "") -> None:
        self._folder = folder
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
        """The file with what it prints, and its exit code, or of one that stays the process."""
        handle, name = tempfile.mkstemp(prefix=".printed-", dir=self._folder)
        os.close(handle)
        printed = Path(name)
        where = f"</dev/null >{printed} 2>&1"
        whole = f"{{\n{command}\n}} {where}{' &' if background else ''}"
        self._bash.stdin.write(f"{whole}\nprintf '%s\\n' {'$!' if background else '$?'}\n")
        self._bash.stdin.flush()
        if not select.select([self._bash.stdout], [], [], SECONDS)[0]:
            raise PageError(f"{command}: does not end; it printed:\n{printed.read_text()}")
        return printed, int(self._bash.stdout.readline())

    def ended(self, process: int) -> int:
        """With which exit code what stays has ended; 0 while it is there."""
        return self.run(f"kill -0 {process} || wait {process}", background=False)[1]

    def close(self) -> None:
        """End it and all that it left running: that is its own process group's."""
        try:
            self._bash.communicate("trap '' TERM; kill 0; wait; exit\n", timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(self._bash.pid, signal.SIGKILL)
            self._bash.communicate()
        with contextlib.suppress(ProcessLookupError):  # what a gate began is over when all are gone
            for left in range(500):
                os.killpg(self._bash.pid, signal.SIGKILL if left == 499 else 0)
                time.sleep(0.02)


class Reader:
    """Somebody who does what a page says, in a bash that was told ``said`` first.

    Several of one ``ports`` are at the same gate.
    """

    def __init__(
        self,
        folder: Path,
        stack: ExitStack,
        said: str = "",
        ports: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._shell = Shell(folder, said)
        stack.callback(self._shell.close)
        self._staying: dict[str, tuple[int, Path]] = {}
        self._ports = ports or free_ports()

    def follow(self, page: Path, before: Path | None = None) -> int:
        """Do all that it says; how many commands. Raises PageError where the page is wrong.

        What an earlier page left running in another terminal is not started again.
        """
        ready = {one.heading: one.steps for one in sections(before)} if before else {}
        names = "|".join(name for steps in ready.values() for step in steps for name in _set(step))
        count = 0
        for section in sections(page):
            for step in ready.pop(section.heading, ()):
                self._do(step, step.text)
            for step in section.steps:
                if isinstance(step, Command) and ELSEWHERE.search(step.text):
                    raise PageError(
                        f"$ {step.text}\nname a path that begins in the reader's folder"
                    )
                if step.text not in self._staying:
                    stands = rf"(?<![\w$\{{])(?<!env:)({names})\b(?![=\w])"
                    self._do(step, re.sub(stands, r"${\1}", step.text) if names else step.text)
                    count += isinstance(step, Command)
        if ready:
            raise PageError(f"{before}: {page.name} has no {list(ready)}")
        for text, (process, printed) in self._staying.items():
            if code := self._shell.ended(process):
                raise PageError(f"$ {text}\nended with {code}:\n{printed.read_text()[-SHOWN:]}")
        return count

    def _do(self, step: Command | File, text: str) -> None:
        if isinstance(step, File):
            (self._folder / step.name).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / step.name).write_text(self._here(text), encoding="utf-8")
            return
        command = self._here(text)
        printed, code = self._shell.run(command, background=step.background)
        wanted = tuple(self._here(line).replace(ITS_OWN, "...") for line in step.printed)
        seconds = SECONDS if wanted else SILENT
        until = time.monotonic() + (seconds if step.background else 0)
        if step.background:
            self._staying[step.text] = code, printed
            wanted, code = wanted or (ANYTHING,), 0
        while (missing := absent(wanted, said := printed.read_text(errors="replace"))) and (
            time.monotonic() < until
        ):
            time.sleep(0.05)
            if step.background and not Path(f"/proc/{self._staying[step.text][0]}").exists():
                break
        if (missing and wanted != (ANYTHING,)) or code != step.code:
            raise PageError(f"$ {command}\nexit {code}; missing: {missing!r} in\n{said[-SHOWN:]}")
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


def free_ports() -> dict[str, str]:
    """A free port for each that pages name."""
    return {name: str(free_port()) for name in PORTS}


def _set(step: Command | File) -> list[str]:
    """The variables that a command sets."""
    said = step.text if isinstance(step, Command) else ""
    return re.findall(r"(?:^|\s)([A-Z][A-Z_]*)=", said)
