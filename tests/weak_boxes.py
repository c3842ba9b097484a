"""A deliberately weak box: the suite's attempts must get through, or they could not fail.

No filter of system calls, no control groups, the machine's network, shared memory and descriptors,
a copy of a few programs that can be written, and all capabilities in a user namespace of its own.
It runs as the unprivileged user, in a throw-away root: not even here is anything of the machine
within its reach that that user could not touch.
"""

import asyncio
import os
import shutil
import signal
import subprocess
from pathlib import Path

from portcullis.core.sandbox import Ability, Ended, Ending

PROGRAMS = ("env", "id", "unshare", "python3.11", "sh", "sleep")


WEAK = (
    "prlimit --nofile=512 bwrap --unshare-user --unshare-pid --uid 65534 --gid 65534"
    " --cap-add ALL --die-with-parent --bind {root} / --proc /proc --ro-bind /sys /sys"
    " --dev-bind /dev /dev --tmpfs /dev/shm --ro-bind /usr/lib /usr/lib"
    " --ro-bind /lib64 /lib64 --ro-bind /lib /lib"
)


class WeakBox:
    enforced = frozenset()

    def __init__(self, process):
        self.process, self.pid = process, process.pid

    async def wait(self):
        code = await asyncio.to_thread(self.process.wait, 120)
        if code >= 0:
            return Ended(why=Ending.EXITED, status=code)
        return Ended(why=Ending.SIGNALLED, status=128 - code)

    async def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(self.process.wait, 10)

    async def close(self):
        await self.kill()


class WeakSandbox:
    name = "weak"

    def __init__(self, root: Path):
        self.root = root
        for name in (
            "usr/bin",
            "etc",
            "root",
            "home/user",
            "scratch",
            "tmp",
            "probe",
            "out",
            "var",
            "run",
            "sys",
            "proc",
            "dev",
            "usr/lib",
            "lib",
            "lib64",
        ):
            (root / name).mkdir(parents=True)
        for name in PROGRAMS:
            shutil.copy(f"/usr/bin/{name}", root / "usr/bin" / name)
        (root / "usr/bin/python3").symlink_to("python3.11")
        (root / "bin").symlink_to("usr/bin")
        (root / "etc/shadow").write_text("root:!:1::::::\n")
        (root / "tmp/left").touch()
        if os.geteuid() == 0:
            for path in (root, *root.rglob("*")):
                os.chown(path, 65534, 65534, follow_symlinks=False)

    def probe(self):
        return Ability(adapter="weak", version="0", enforces=frozenset(), lacking={})

    async def start(self, order, streams):
        return await asyncio.to_thread(self._start, order, streams)

    def _start(self, order, streams):
        mounts = [(one.source, one.target) for one in order.mounts]
        if order.mounts:  # all that was staged, the canary among it
            mounts.insert(0, (order.mounts[0].source.parent,) * 2)
        binds = "".join(f" --bind {source} {target}" for source, target in mounts)
        line = WEAK.format(root=self.root) + binds + " --chdir /scratch --"
        who = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        process = subprocess.Popen(
            [*line.split(), *order.argv],
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr,
            env={**os.environ, **order.environ},
            close_fds=False,
            cwd="/",
            **who,
        )
        return WeakBox(process)
