"""An ordinary user has boxes too, and none that holds less than it says."""

import json
import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from portcullis.core.sandbox import STRICT, Hold

COUNTED = {Hold.MEMORY, Hold.CPU, Hold.PIDS}

# The interpreter lies where root alone can walk: the capability to read it is dropped when all is
# loaded, and no program that is started has it.
PROGRAM = textwrap.dedent("""
    import asyncio, ctypes, json, os, sys, tempfile
    from pathlib import Path
    from portcullis.bootstrap.sandboxes import adapter
    from portcullis.core.errors import Problem
    from portcullis.core.sandbox import Hold, Mount, Order, Profile, STRICT, Streams

    ctypes.CDLL(None).prctl(47, 4, 0, 0, 0)
    assert os.getuid() == 1234

    async def main():
        sandbox = adapter("bubblewrap")
        ability = sandbox.probe()
        said = {"enforces": sorted(ability.enforces)}
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as out:
            (Path(folder) / "file").write_text("mine")
            streams = Streams(stdin=out.fileno(), stdout=out.fileno(), stderr=out.fileno())
            order = Order(title="t", argv=("/bin/sh", "-c", "cat /m/file; id -u; touch /m/new"),
                          profile=Profile(), environ={"PATH": "/usr/bin"},
                          mounts=(Mount(source=Path(folder), target="/m", writable=True),))
            try:
                await sandbox.start(order, streams)
            except Problem as problem:
                said |= {"code": problem.code, "hint": problem.hint}
            waiving = Profile(name="own", demands=STRICT & ability.enforces)
            order = Order(title="t", argv=order.argv, profile=waiving, environ=order.environ,
                          mounts=order.mounts)
            box = await sandbox.start(order, streams)
            said["ended"] = (await box.wait()).why
            said["left"] = box.scratch is not None
            await box.close()
            out.seek(0)
            said |= {"out": out.read().decode(), "new": (Path(folder) / "new").exists()}
        print(json.dumps(said))
    asyncio.run(main())
""")


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("bwrap"),
    reason="needs root, to be somebody else, and bubblewrap: see `make packages`",
)
def test_what_an_ordinary_user_cannot_enforce_is_lacking_and_the_rest_holds():
    become = ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups"]
    become += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--"]
    done = subprocess.run(
        [*become, sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(filter(None, sys.path))},
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert STRICT - set(said["enforces"]) == COUNTED
    assert said["code"] == "PC5030"
    assert "systemd-run" in said["hint"]
    assert (said["ended"], said["out"], said["new"]) == ("exited", "mine65534\n", True)
    assert said["left"]
