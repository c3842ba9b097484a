"""If these fail, a credential is in the logs or in a core file."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import ctypes, gc, logging, resource, sys, threading
from portcullis.cli import logs
from portcullis.cli.cores import no_cores
from portcullis.core.secret import Secret

import structlog

logs.configure("debug")
no_cores()
secret = Secret("sk-" + "planted-value")
log = structlog.get_logger("it")
deep = {"a": [secret.reveal(), {secret.reveal(): 1}]}
log.debug("told", plain=secret.reveal(), secret=secret, deep=deep)
log.info(f"within {secret.reveal()} a line", bad=b"x" + secret.reveal().encode())
try:
    raise ValueError(secret.reveal())
except ValueError:
    log.exception("failed")
    logging.getLogger("library").exception("with %s", secret.reveal())


class Bad:
    def __del__(self):
        raise ValueError(secret.reveal())


def fail():
    raise ValueError(secret.reveal())


Bad()
thread = threading.Thread(target=fail)
thread.start()
thread.join()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
raise ValueError(secret.reveal())
"""


def test_no_way_into_the_logs_takes_a_secret_and_no_core_is_left():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stdout.strip() == "(0, 0) 0"
    assert done.stderr.count('"event": "uncaught"') == 3
    assert done.stderr.count("***") >= 4
    assert len(done.stderr.splitlines()) == 7
    assert "planted-value" not in done.stderr
