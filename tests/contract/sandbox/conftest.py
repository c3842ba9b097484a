"""Every kind of box that this machine has, and a way to run a command in one."""

import asyncio
import functools
import os
import shutil
import tempfile

import pytest

from needs import missing
from portcullis.bootstrap.sandboxes import adapter
from portcullis.core.sandbox import Ended, Order, Profile, Streams

PROCESSES = ("bubblewrap", "runc", "crun", "runsc")
_PROGRAMS = {"bubblewrap": "bwrap", "runc": "runc", "crun": "crun", "runsc": "runsc"}
ROOT = os.geteuid() == 0


@functools.cache
def made(name: str):
    return adapter(name)


@pytest.fixture(scope="module", params=PROCESSES)
def sandbox(request):
    if shutil.which(_PROGRAMS[request.param]) is None:
        missing(f"needs {request.param}: see `make packages`")
    if request.param != "bubblewrap" and not ROOT:
        pytest.skip("OCI runtimes are run by root")
    return made(request.param)


class Ran:
    """What a command in a box said, and how it ended."""

    def __init__(self, ended: Ended, out: bytes, err: bytes) -> None:
        self.ended, self.out, self.err = ended, out.decode(), err.decode()


@pytest.fixture
def inside(sandbox):
    """Run a shell command in a strict box, or one with changes to the profile."""

    async def run(command, *, mounts=(), environ=None, cwd="/scratch", stdin=b"", **changes) -> Ran:
        order = Order(
            title="test",
            argv=("/bin/sh", "-c", command) if isinstance(command, str) else tuple(command),
            profile=Profile(**({"seconds": 20} | changes)),
            environ={"PATH": "/usr/bin:/bin"} if environ is None else environ,
            mounts=mounts,
            cwd=cwd,
        )
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out:
            given.write(stdin)
            given.seek(0)
            with tempfile.TemporaryFile() as err:
                streams = Streams(stdin=given.fileno(), stdout=out.fileno(), stderr=err.fileno())
                box = await sandbox.start(order, streams)
                try:
                    async with asyncio.timeout(30):
                        ended = await box.wait()
                finally:
                    await box.close()
                return Ran(ended, _all(out), _all(err))

    return run


def _all(file) -> bytes:
    file.seek(0)
    return file.read()
