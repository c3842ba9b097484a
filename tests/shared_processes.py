"""What gateways share, used by processes of their own: run by ``in_processes``."""

import multiprocessing
import time

from portcullis.store.once import SharedOnce
from portcullis.store.vaults_shared import SharedVaults

KEY = bytes(range(32))
_SPAWN = multiprocessing.get_context("spawn")


class Clock:
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


def spend_all(path, keys, results):
    """How many of the keys it was allowed to spend, and since when it remembers."""
    once = SharedOnce(path, Clock())
    results.put((sum(once.spend(key, time.time() + 60) for key in keys), once.since))


def hide_all(path, values, results):
    """The placeholders of values in one session."""
    vaults = SharedVaults(path, KEY, Clock())
    results.put({value: vaults.vault("s1", 0.0).hide("A", value) for value in values})


def in_processes(work, *arguments):
    """What each of as many processes has put, all at once."""
    results = _SPAWN.Queue()
    processes = [_SPAWN.Process(target=work, args=(*one, results)) for one in arguments]
    for process in processes:
        process.start()
    found = [results.get(timeout=30) for _ in processes]
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    return found
