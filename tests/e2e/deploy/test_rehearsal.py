"""If these fail, an image that was built, or a pod that was made as is written, does not start.

There is no container engine and no cluster here: the gate runs in bubblewrap with the user, the
read-only root, the folders and the commands of the manifests, and the image is built by the
Dockerfile's own commands in one.
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest

from deployed import DEPLOY, ROOT
from effort import NIGHT
from needs import needs_boxes, needs_kubectl

DOCKERFILE = DEPLOY / "Dockerfile"
SYSTEM = (
    *("--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin"),
    *("--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
    *("--ro-bind", sys.base_prefix, sys.base_prefix, "--dev", "/dev", "--proc", "/proc"),
)


def instructions():
    """The Dockerfile's, joined over lines: (word, rest)."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    return [tuple(line.split(None, 1)) for line in text.replace("\\\n", " ").splitlines() if line]


def environment():
    (last,) = (i for i, (word, _) in enumerate(instructions()) if word == "FROM" and i > 2)
    pairs = [rest for word, rest in instructions()[last:] if word == "ENV"]
    return dict(one.split("=", 1) for rest in pairs for one in shlex.split(rest))


def projected(folder, files):
    """Files as the kubelet lays out a ConfigMap or a Secret."""
    (folder / "..2026").mkdir(parents=True)
    (folder / "..data").symlink_to("..2026")
    for name, text in files.items():
        (folder / "..2026" / name).write_text(text)
        (folder / "..2026" / name).chmod(0o440)
        (folder / name).symlink_to(f"..data/{name}")
    return folder


def boxed(objects, folder):
    """The pod of the gate: its containers, and the bubblewrap that one of them runs in."""
    (found,) = (one for one in objects if one["kind"] == "StatefulSet")
    spec = found["spec"]["template"]["spec"]
    maps = {one["metadata"]["name"]: one["data"] for one in objects if one["kind"] == "ConfigMap"}
    (folder / "state").mkdir(parents=True)
    (folder / "state").chmod(0o2770)  # as fsGroup leaves a volume
    places = {"state": folder / "state"}
    for volume in spec["volumes"]:
        name = volume["name"]
        if "configMap" in volume:
            places[name] = projected(folder / name, maps[volume["configMap"]["name"]])
        elif "secret" in volume:
            places[name] = projected(folder / name, {"passphrase": "a passphrase of the test"})
    words = []
    for mount in spec["containers"][0]["volumeMounts"]:
        bind = "--ro-bind" if mount.get("readOnly") else "--bind"
        source = places.get(mount["name"])
        words += ["--tmpfs", mount["mountPath"]] if source is None else []
        words += [bind, str(source), mount["mountPath"]] if source is not None else []
    user, group = (str(spec["securityContext"][one]) for one in ("runAsUser", "runAsGroup"))
    environ = [word for one in environment().items() for word in ("--setenv", *one)]
    return spec["containers"], (
        *("bwrap", "--unshare-all", "--die-with-parent", "--uid", user, "--gid", group),
        *(*SYSTEM, "--ro-bind", str(ROOT / ".venv"), "/opt/portcullis"),
        *("--cap-drop", "ALL", "--clearenv", *environ, *words),
        *(
            "--ro-bind",
            str(ROOT),
            str(ROOT),
        ),  # where its programs are; it may be below the pod's /tmp
        *("--chdir", "/var/lib/portcullis", "--remount-ro", "/"),
    )


@needs_boxes
@needs_kubectl
@pytest.mark.nightly
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ["base", "split"])
def test_the_gate_starts_and_is_ready_as_its_pod_says(rendered, name, tmp_path):
    if name == "split" and not NIGHT:
        pytest.skip("three processes: by night")
    containers, box = boxed(rendered[name], tmp_path / "pod")
    lines = ["trap 'kill $all; wait; exit 0' TERM", "all="]
    for one in containers:
        lines += [f'portcullis {shlex.join(one["args"])} >&2 & all="$all $!"']
    for one in containers:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = shlex.join(one[probe]["exec"]["command"])
            lines += [f"until {asked} 2>/dev/null; do sleep 0.2; done; echo {one['name']} {probe}"]
    lines += ["echo all", "wait"]
    running = subprocess.Popen(
        [*box, "--", "/bin/sh", "-c", "\n".join(lines)],
        stdout=subprocess.PIPE, stderr=(tmp_path / "log").open("wb"), text=True,
    )  # fmt: skip
    try:
        said = read_until(running.stdout, "all\n", seconds=60)
        assert said.count("Probe") == 3 * len(containers), (tmp_path / "log").read_text()
        (inner,) = children(running.pid)
        os.kill(children(inner)[0], signal.SIGTERM)
        assert running.wait(timeout=30) == 0
    finally:
        running.kill()
        running.wait(timeout=10)
    state = tmp_path / "pod/state/state"
    assert state.stat().st_mode & 0o077 == 0
    assert (state / "ca").is_dir()
    assert not (state / "keys/master.key").exists()  # its key is the passphrase's


def read_until(stream, line, *, seconds):
    os.set_blocking(stream.fileno(), False)
    until, said = time.monotonic() + seconds, ""
    while not said.endswith(line) and time.monotonic() < until:
        with contextlib.suppress(BlockingIOError, TypeError):
            said += stream.read() or ""
        time.sleep(0.1)
    return said


def children(pid):
    text = open(f"/proc/{pid}/task/{pid}/children", encoding="ascii").read()  # noqa: PTH123, SIM115
    return [int(one) for one in text.split()]


def test_the_image_runs_what_the_pod_runs_and_copies_what_is_there():
    told = instructions()
    assert ("USER", "65532:65532") in told
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    for word, rest in told:
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in ignored, source
    (entry,) = (rest for word, rest in told if word == "ENTRYPOINT")
    (command,) = (rest for word, rest in told if word == "CMD")
    assert entry == '["/opt/portcullis/bin/portcullis"]'
    assert "up" in command
    assert all("apt" not in rest and "http" not in rest for word, rest in told if word == "RUN")
    (stage,) = [rest for word, rest in told if word == "RUN" and "--require-hashes" in rest]
    for lock in re.findall(r"-r (\S+)", stage):
        assert "--hash=sha256:" in (ROOT / lock).read_text()


@needs_boxes
@pytest.mark.nightly
@pytest.mark.skipif(not NIGHT, reason="it installs everything anew: by night")
@pytest.mark.timeout(900)
def test_the_dockerfiles_own_commands_build_a_portcullis_that_runs(tmp_path):
    source, target, pythons = tmp_path / "src", tmp_path / "opt", tmp_path / "bin"
    for folder in (source, target, pythons):
        folder.mkdir()
    told = instructions()
    second = [i for i, (word, _) in enumerate(told) if word == "FROM"][1]
    for word, rest in told[:second]:
        if word == "COPY":
            *names, _ = rest.split()
            subprocess.run(["cp", "--parents", "-r", *names, source], cwd=ROOT, check=True)
    (pythons / "python").symlink_to(f"{sys.base_prefix}/bin/python3")
    system = [*SYSTEM, "--ro-bind", str(pythons), "/pythons"]
    reached = [*system, "--ro-bind", "/etc", "/etc", "--tmpfs", "/home"]
    reached += ["--bind", str(source), "/src", "--bind", str(target), "/opt/portcullis"]
    environ = {"PATH": "/pythons:/usr/bin:/bin", "HOME": "/home", "TMPDIR": "/home"}
    reached += [word for one in environ.items() for word in ("--setenv", *one)]
    reached += ["--chdir", "/src"]
    for word, rest in told[:second]:
        if word == "RUN":
            done = subprocess.run(
                ["bwrap", "--die-with-parent", *reached, "/bin/sh", "-c", rest],
                capture_output=True, text=True, check=False, timeout=600,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr[-2000:]
    asked = ["bwrap", "--unshare-all", *system, "--ro-bind", str(target), "/opt/portcullis"]
    asked += ["--clearenv", "/opt/portcullis/bin/portcullis", "version"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
    assert said.returncode == 0, said.stderr
    assert re.match(r"\d+\.\d+", said.stdout.split()[-1])
    assert not (target / "bin/pip").exists()
