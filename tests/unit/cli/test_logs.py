"""If these fail, what an agent or an upstream sent stands in the gate's own log."""

import json
import subprocess
import sys

SCRIPT = """
import logging
from portcullis.cli import logs
logs.configure()
try:
    raise ValueError("a customer's own words")
except ValueError:
    logging.getLogger("uvicorn.error").exception("it said %s", "a customer's own words")
logging.getLogger("asyncio").warning("a customer's own words")
logging.getLogger("aiohttp").info("not worth a line")
"""


def test_what_a_library_logs_says_where_and_repeats_nothing():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=30, check=True
    )
    raised, warned = map(json.loads, done.stderr.splitlines())
    assert (raised["library"], raised["exception"], raised["level"]) == (
        "uvicorn.error",
        "ValueError",
        "error",
    )
    assert raised["at"]
    assert (warned["library"], warned["level"]) == ("asyncio", "warning")
    assert "customer" not in done.stderr
    assert done.stdout == ""
