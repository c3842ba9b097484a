"""Policy files as text: reading a folder, places in it, and faults that show the place."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from portcullis.core.errors import Problem

MAX_FILE_BYTES: Final = 2**20
TESTS: Final = "tests"
"""The subfolder that is no part of a policy: what tests it (``policy.testing``)."""
_SHOWN: Final = 20
"""How many faults one report shows."""
_MARGIN: Final = " " * 5
"""As wide as a line's number."""
_COPY: Final = "Put the file itself there, or a link that stays inside the folder."


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a policy file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    @property
    def origin(self) -> str:
        """``file:line``, as it stands in rules and in comments of the generated Rego."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of the policy. ``name`` is ``folder/file.yaml``, free of machine paths."""

    name: str
    text: str


class Faults:
    """Collects what is wrong, so that one run reports it all, each with its line and a caret."""

    def __init__(self, files: tuple[SourceFile, ...]) -> None:
        self._lines = {file.name: file.text.splitlines() for file in files}
        self._found: list[tuple[Place, str, str, str]] = []

    def add(self, place: Place, message: str, hint: str = "", code: str = "PC7002") -> None:
        """Note one fault; ``hint`` says what to do about it."""
        self._found.append((place, message, hint, code))

    def raise_any(self) -> None:
        """Raise one Problem for all faults, with every excerpt; its code is the first one's.

        A single fault's hint is the Problem's; of several, each stands below its excerpt.
        """
        if not self._found:
            return
        self._found.sort(key=lambda fault: (fault[0].file, fault[0].line, fault[0].column))
        _, _, hint, code = self._found[0]
        alone = len(self._found) == 1
        shown = [
            self._show(place, message) + (f"\n{_MARGIN} = {hint}" if hint and not alone else "")
            for place, message, hint, _ in self._found[:_SHOWN]
        ]
        if len(self._found) > _SHOWN:
            shown.append(f"and {len(self._found) - _SHOWN} more")
        raise Problem(code, "\n".join(shown), hint=(alone and hint) or None)

    def _show(self, place: Place, message: str) -> str:
        lines = self._lines.get(place.file, [])
        if not 1 <= place.line <= len(lines):
            return f"{place}: {message}"
        number = f"{place.line:5d}"
        caret = " " * (place.column - 1) + "^"
        text = lines[place.line - 1].replace("\t", " ")
        return f"{place}: {message}\n{number} | {text}\n{_MARGIN} | {caret}"


def read(folder: Path) -> tuple[SourceFile, ...]:
    """Every ``*.yaml`` and ``*.rego`` of the folder, by name, but ``*_test.rego``.

    Nothing is skipped in silence: ``.yml`` and subfolders but ``tests`` are refused (hidden entries
    and other files are none of ours). Raises Problem PC7002.
    """
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        files = [_read_one(folder, entry) for entry in entries if _policy(entry)]
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Problem(
            "PC7002", f"cannot read the policy in {folder}: {reason}", hint="Run `portcullis init`."
        ) from None
    for entry in entries:
        name = f"{folder.name}/{entry.name}"
        if entry.is_dir() and entry.name != TESTS:
            raise Problem(
                "PC7002",
                f"{name}: subfolders are not read",
                hint="Move its files into the folder itself.",
            )
        if entry.suffix == ".yml":
            raise Problem("PC7002", f"{name}: not read", hint="Rename it to .yaml.")
    if not any(file.name.endswith(".yaml") for file in files):
        raise Problem(
            "PC7002", f"no *.yaml in the policy folder {folder}", hint="Run `portcullis init`."
        )
    return tuple(files)


def _policy(entry: Path) -> bool:
    """Whether a file is policy; the tests of hand-written Rego are not."""
    rego = entry.suffix == ".rego" and not entry.name.endswith("_test.rego")
    return entry.suffix == ".yaml" or rego


def _read_one(folder: Path, path: Path) -> SourceFile:
    return SourceFile(f"{folder.resolve().name}/{path.name}", text_of(folder, path, "PC7002"))


def text_of(folder: Path, path: Path, code: str) -> str:
    """The text of a file below ``folder``, no longer than ``MAX_FILE_BYTES``.

    Links are followed as far as they stay below the folder, as those of a mounted ConfigMap do: of
    what lies elsewhere, reports would show lines to whoever may see a report. Raises Problem
    ``code``, and OSError for a file that cannot be read.
    """
    name = f"{folder.resolve().name}/{path.relative_to(folder)}"
    body = _body(folder, path)
    if body is None:
        raise Problem(code, f"{name}: not a file of this folder", hint=_COPY)
    if len(body) > MAX_FILE_BYTES:
        raise Problem(code, f"{name}: larger than {MAX_FILE_BYTES} bytes")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise Problem(code, f"{name}:{line}: not valid UTF-8") from None


def root_of(folder: Path) -> Path:
    """The folder that no file of this one may lie outside of: of tests, the policy's."""
    return folder.parent if folder.name == TESTS else folder


def _body(folder: Path, path: Path) -> bytes | None:
    """What is in it; None for what is no plain file, or lies outside the folder."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # waits for no pipe
    try:
        found, place = os.fstat(opened), path.resolve(strict=True)
        inside = place.is_relative_to(folder.resolve()) and os.path.samestat(found, place.stat())
        if not inside or not stat.S_ISREG(found.st_mode):
            return None
        with os.fdopen(opened, "rb", closefd=False) as file:
            return file.read(MAX_FILE_BYTES + 1)
    finally:
        os.close(opened)
