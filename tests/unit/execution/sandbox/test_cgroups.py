"""If these fail, a box is not counted, or somebody else's control group is touched.

Version 2 is tried against a tree of plain files: what is written where, not what a kernel does.
"""

import os

import pytest

from portcullis.core.errors import Problem
from portcullis.core.sandbox import Hold, Profile
from portcullis.execution.sandbox import cgroups

PROFILE = Profile(memory=64 * 2**20, cpu=0.25, pids=20)


def unified(tmp_path, *, offered="cpu memory pids", enabled="", writable=True):
    """A process in /user of a version 2 tree."""
    tree, proc = tmp_path / "cgroup", tmp_path / "proc"
    ours = tree / "user"
    ours.mkdir(parents=True)
    proc.mkdir()
    (ours / "cgroup.controllers").write_text(f"{offered}\n")
    (ours / "cgroup.subtree_control").write_text(f"{enabled}\n")
    (ours / "cgroup.procs").write_text("")
    (proc / "cgroup").write_text("0::/user\n")
    (proc / "mountinfo").write_text(
        "20 1 0:1 / / rw - ext4 /dev/vda rw\n"
        f"30 20 0:26 / {tree} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
    )
    return proc, ours


def test_on_version_2_the_bounds_are_written_below_our_own_group(tmp_path):
    proc, ours = unified(tmp_path, enabled="cpu memory pids")
    tree = cgroups.find(proc)
    assert (tree.version, dict(tree.lacking)) == (2, {})
    group = cgroups.make(tree, PROFILE, name="portcullis-1-1")
    place = ours / "portcullis-1-1"
    assert group.directories == (place,)
    assert group.joins() == (place / "cgroup.procs",)
    assert (place / "memory.max").read_text() == str(64 * 2**20)
    assert (place / "cpu.max").read_text() == "25000 100000"
    assert (place / "pids.max").read_text() == "20"
    assert group.holds == {Hold.MEMORY, Hold.CPU, Hold.PIDS}
    (place / "memory.events").write_text("low 0\noom 2\noom_kill 3\n")
    assert group.out_of_memory() == 3
    group.kill()
    assert (place / "cgroup.kill").read_text() == "1"


def test_a_tree_that_is_ours_alone_is_made_to_hand_controllers_on(tmp_path):
    proc, ours = unified(tmp_path)
    cgroups.find(proc)
    assert (ours / "portcullis-self/cgroup.procs").read_text() == "0"
    assert (ours / "cgroup.subtree_control").read_text() == "+memory +cpu +pids"


def test_controllers_that_were_not_delegated_are_lacking(tmp_path):
    proc, _ = unified(tmp_path, offered="cpu", enabled="cpu")
    tree = cgroups.find(proc)
    assert set(tree.places) == {"cpu"}
    assert set(tree.lacking) == {Hold.MEMORY, Hold.PIDS}
    assert "delegated" in tree.lacking[Hold.MEMORY]


def test_on_version_1_each_controller_has_its_own_place(tmp_path):
    proc = tmp_path / "proc"
    proc.mkdir()
    lines = []
    for name in ("memory", "cpu", "pids"):
        (tmp_path / name / "mine").mkdir(parents=True)
        lines.append(f"30 20 0:26 / {tmp_path / name} rw - cgroup cgroup rw,{name}")
    (proc / "mountinfo").write_text("\n".join(lines))
    (proc / "cgroup").write_text("3:memory:/mine\n2:cpu,cpuacct:/mine\n1:pids:/elsewhere\n0::/\n")
    tree = cgroups.find(proc)
    assert (tree.version, dict(tree.lacking)) == (1, {})
    group = cgroups.make(tree, PROFILE, name="portcullis-1-1")
    memory, cpu = tmp_path / "memory/mine/portcullis-1-1", tmp_path / "cpu/mine/portcullis-1-1"
    assert (memory / "memory.limit_in_bytes").read_text() == str(64 * 2**20)
    assert (cpu / "cpu.cfs_quota_us").read_text() == "25000"
    assert (tmp_path / "pids/portcullis-1-1/pids.max").read_text() == "20"
    assert len(group.joins()) == 3


def test_what_a_dead_process_left_is_swept_and_nothing_else(tmp_path):
    proc, ours = unified(tmp_path, enabled="cpu memory pids")
    for name in ("portcullis-4194399-1", f"portcullis-{os.getpid()}-1", "portcullis-x-1", "other"):
        (ours / name).mkdir()
    cgroups.find(proc)
    left = {one.name for one in ours.iterdir() if one.is_dir()}
    assert left == {f"portcullis-{os.getpid()}-1", "portcullis-x-1", "other"}


def test_a_kernel_that_refuses_a_bound_makes_no_group(tmp_path):
    proc, ours = unified(tmp_path, enabled="cpu memory pids")
    tree = cgroups.find(proc)
    (ours / "portcullis-1-1").mkdir()
    with pytest.raises(Problem) as caught:
        cgroups.make(tree, PROFILE, name="portcullis-1-1")
    assert caught.value.code == "PC5031"
