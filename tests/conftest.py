"""Fixtures for every test, and the check that the register of controls is proven.

In a full run (``make test``) every cell of the matrix control x route x phase must have been
filled by a test that passed, or be declared inapplicable; a cell that is both is an error too.
No more than a few tests may have passed only when they were tried again.
"""

import gc
import json
import os
import signal
import subprocess
from datetime import UTC, datetime

import pytest
import structlog

from controls import register
from portcullis import __version__
from portcullis.review.threats_proofs import PLACE, code_digest
from postgres_servers import postgres_server

CELLS = pytest.StashKey[dict]()
AGAIN = 5
"""So many tests may pass at the second try; of a fault that comes now and then, more would."""

# A shell that begins the tests in the background has them ignore these, and all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

_configure = structlog.configure


def _uncached(**how):
    """Configure logs as a command would, but so that a later test can still look at them."""
    _configure(**how | {"cache_logger_on_first_use": False})


structlog.configure = _uncached

gc.disable()  # until all is collected: of what is imported nothing is garbage


class Filled:
    """Collects which cells were filled, from this process and from its workers."""

    def __init__(self):
        self.cells = {}
        self.again = set()

    def pytest_runtest_logreport(self, report):
        if report.outcome == "rerun":
            self.again.add(report.nodeid)
        for name, cell in report.user_properties:
            if name == "cell" and report.when == "call" and report.passed:
                self.cells.setdefault(tuple(cell), []).append(report.nodeid)


@pytest.fixture(autouse=True)
def _logs_as_before():
    yield
    if structlog.is_configured():
        structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server, for all tests of this process that ask for one."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pytest_configure(config):
    config.stash[CELLS] = Filled()
    config.pluginmanager.register(config.stash[CELLS])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call":
        cells = (mark.args for mark in item.iter_markers("control"))
        report.user_properties += [("cell", [str(part) for part in cell]) for cell in cells]


def pytest_collection_modifyitems(config, items):
    known = {control.id: control for control in register().controls}
    for item in items:
        for mark in item.iter_markers("control"):
            control, route, phase = mark.args
            if control not in known:
                raise pytest.UsageError(f"{item.nodeid} names the unknown control {control!r}")
            reason = known[control].reason(route, phase)
            if reason:
                raise pytest.UsageError(
                    f"{item.nodeid} fills {control}/{route}/{phase}, which controls.yaml declares "
                    f"inapplicable: {reason}"
                )


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    gc.freeze()
    gc.enable()


def _commit():
    """What is checked out; nothing outside of a repository."""
    try:
        git = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=20, check=False
        )
    except OSError:
        return ""
    return git.stdout.strip() if git.returncode == 0 else ""


def pytest_sessionfinish(session, exitstatus):
    if not os.environ.get("PORTCULLIS_FULL_RUN") or hasattr(session.config, "workerinput"):
        return
    filled, again = session.config.stash[CELLS].cells, session.config.stash[CELLS].again
    empty = [cell for cell in register().cells() if tuple(map(str, cell)) not in filled]
    report = session.config.rootpath / PLACE
    report.parent.mkdir(exist_ok=True)
    cells = {"/".join(cell): tests for cell, tests in sorted(filled.items())}
    made = datetime.now(UTC).isoformat(timespec="seconds")
    record = {"made": made, "version": __version__, "commit": _commit()}
    record |= {"digest": code_digest(), "cells": cells}
    report.write_text(json.dumps(record, indent=1))
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if again:
        reporter.section(f"{len(again)} tests tried again, of at most {AGAIN}", yellow=True)
        for test in sorted(again):
            reporter.line(test)
    if len(again) > AGAIN:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if empty:
        reporter.section("controls without proof", red=True)
        for control, route, phase in empty:
            reporter.line(f"{control} on {route}, {phase}: no test that passed fills this cell")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    else:
        reporter.line(f"register of controls: {len(filled)} cells, each proven by a test")
