"""``portcullis restart``: the workers of ``up --workers``, one after the other."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from portcullis.bootstrap.leaving import longest
from portcullis.bootstrap.presence import present
from portcullis.bootstrap.workers import START_SECONDS
from portcullis.cli.operate import running_gate
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile
from portcullis.cli.serve import say
from portcullis.config import Config, load
from portcullis.config.places import gateway_file, gateway_files
from portcullis.core.errors import Problem

_LOOK_SECONDS = 0.1


def restart(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Have the workers of `portcullis up --workers` begin anew, one after the other.

    Each takes the programs and the configuration as they are now, and serves before the next one
    ends; no request is lost. It stops at the first that does not come back.
    """
    settings = load(config)
    ruler = running_gate(settings)
    workers = {} if ruler is None else _workers(settings, ruler.pid)
    if ruler is None or not workers:
        hint = "It is for `portcullis up --workers`; restart other processes one by one."
        raise Problem("PC7088", "no workers run here", hint=hint)
    os.kill(ruler.pid, signal.SIGUSR2)
    seconds = longest(settings.limits) + START_SECONDS
    for name, before in workers.items():
        say(f"{name:9} process {before} -> {_renewed(settings, name, before, seconds)}")


def _workers(config: Config, ruler: int) -> dict[str, int]:
    """The processes of the gateways that are children of who rules, by name."""
    found = {place.stem: present(place) for place in gateway_files(config)}
    return {name: pid for name, pid in found.items() if pid is not None and _parent(pid) == ruler}


def _renewed(config: Config, name: str, before: int, seconds: float) -> int:
    """The process that serves under this name in its place. Raises Problem PC7088."""
    place = gateway_file(config, name)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pid = present(place)
        if pid is not None and pid != before:
            return pid
        time.sleep(_LOOK_SECONDS)
    hint = "See what it says, and its log; the others go on as they are."
    raise Problem("PC7088", f"{name} did not come back", hint=hint)


def _parent(pid: int) -> int:
    """The number of a process' parent (proc_pid_stat(5)); 0 when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(stat.rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0
