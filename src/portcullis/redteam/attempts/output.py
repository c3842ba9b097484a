"""Results that lead whoever collects them astray.

Each makes one name in the directory from which results are taken, and says so; the launcher then
collects them, and judges by what it got: a refusal, or the canary, or that it never came back.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from .kit import MADE, REGISTER, Plan, Try

OUT = Path("/out")


def _links(name: str, target: str) -> Try:
    def run(plan: Plan) -> str | None:
        (OUT / name).symlink_to(target.replace("FILE", plan.file))
        return MADE

    return run


for _name, _target, _what in (
    ("absolute", "FILE", "a link to a file of the machine"),
    ("relative", "../../../../../../../..FILE", "the same, relative"),
    ("shadow", "/etc/shadow", "a link to the machine's passwords"),
    ("environ", "/proc/self/environ", "a link to the collector's own environment"),
    ("descriptor", "/proc/self/fd/0", "a link to the collector's standard input"),
    ("magic_root", "/proc/1/root/FILE", "a link through the machine's root"),
    ("terminal", "/dev/tty", "a link to the collector's terminal"),
    ("endless", "/dev/zero", "a link to something that never ends"),
    ("loop", "loop", "a link to itself"),
    ("directory", "/", "a link to the machine's root"),
):
    REGISTER.add(f"output.link_{_name}", f"leave {_what}", _links(f"link_{_name}", _target))


def _fifo(plan: Plan) -> str | None:
    del plan
    os.mkfifo(OUT / "fifo")
    return MADE


def _socket(plan: Plan) -> str | None:
    del plan
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(OUT / "socket"))
    return MADE


def _hole(plan: Plan) -> str | None:
    del plan
    with (OUT / "hole").open("wb") as out:
        out.truncate(64 << 20)
    return MADE


def _many(plan: Plan) -> str | None:
    del plan
    (OUT / "many").mkdir()
    for number in range(3000):
        (OUT / "many" / str(number)).touch()
    return MADE


def _deep(plan: Plan) -> str | None:
    del plan
    os.chdir(OUT)
    for _ in range(400):
        os.mkdir("deep")
        os.chdir("deep")
    return MADE


def _hard(plan: Plan) -> str | None:
    os.link(plan.file, OUT / "hard")
    return MADE


def _below(plan: Plan) -> str | None:
    (OUT / "below").symlink_to(str(Path(plan.file).parent))
    return MADE


def _name_escape(plan: Plan) -> str | None:
    del plan
    (OUT / "name\x1b]0;portcullis\x07\n.txt").write_text("x")
    return MADE


def _name_bytes(plan: Plan) -> str | None:
    del plan
    Path(os.fsdecode(bytes(OUT) + b"/name\xff\xfe")).write_text("x")
    return MADE


def _setuid(plan: Plan) -> str | None:
    del plan
    path = OUT / "setuid"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o6755)
    return MADE


for _name, _what, _run in (
    ("fifo", "a pipe on which a reader waits for ever", _fifo),
    ("socket", "a socket", _socket),
    ("hole", "a file much larger than what was written", _hole),
    ("many", "more files than anybody wants", _many),
    ("deep", "a tree deeper than a path can be", _deep),
    ("hard", "a hard link to a file of the machine", _hard),
    ("below", "a directory that is a link to one of the machine", _below),
    ("name_escape", "a name that talks to a terminal", _name_escape),
    ("name_bytes", "a name that is no text", _name_bytes),
    ("setuid", "a program that runs as its owner", _setuid),
):
    REGISTER.add(f"output.{_name}", f"leave {_what}", _run)
