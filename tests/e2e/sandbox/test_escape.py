"""The whole suite in real boxes: nothing gets out of a strict one, and much out of a weak one."""

import os

import pytest

from needs import missing, needs_boxes
from portcullis.bootstrap.sandboxes import adapter
from portcullis.core.sandbox import STRICT, Profile
from portcullis.redteam.attempts.kit import GROUPS
from portcullis.redteam.escape import THROUGH_GATE, attempt_all, attempts, figures_of
from portcullis.redteam.escape_neighbours import PAIRS

pytestmark = [
    needs_boxes,
    pytest.mark.anyio,
    pytest.mark.skipif(os.geteuid() != 0, reason="control groups are made by root here"),
]

LONG = ("exhaustion.inodes", "exhaustion.processor", "exhaustion.fork_bomb")
"""Seconds each: `portcullis sandbox probe` has them."""
LEAVES = tuple(
    f"network.{name}"
    for name in (
        *("metadata", "metadata_container", "metadata6", "internet", "internet6", "dns_tcp"),
        *("private_10", "private_172", "private_192", "udp_dns", "udp_dns6", "udp_ntp"),
        *("udp_quic", "udp_multicast", "udp_multicast6", "udp_broadcast", "resolve", "resolvers"),
    )
)
"""What would leave this machine from a box that has its network."""
BIG = tuple(
    f"exhaustion.{name}"
    for name in ("memory_of_many", "memory_shared", "memory_kernel", "fill_scratch", "fill_shm")
)
GETS_OUT = {
    "files": {"read_canary", "read_init_root", "write_etc", "open_program", "link_program",
              "open_deleted"},
    "proc": {"init_environ", "all_environs", "own_environ", "init_memory", "kernel_line",
             "sys_inside"},
    "descriptors": {"inherited", "own"},
    "kernel": {"add_key", "keyctl", "personality", "int80", "capabilities", "capset", "filter",
               "name_to_handle", "modify_ldt"},
    "processes": {"trace_init", "trace_child", "read_memory", "write_memory",
                  "descriptor_of_init", "compare"},
    "terminals": {"session"},
    "shared": {"memory", "queue", "listed", "abstract", "unix", "any_socket"},
    "network": {"loopback", "mapped", "udp_loopback", "interfaces", "addresses", "unix_names",
                "outside_view"},
    "sockets": {"netlink_events", "netlink_filter"},
    "exhaustion": {"processes", "threads", "memory", "fill_tmp", "descriptors"},
    "namespaces": {"unshare_user", "unshare_mount", "clone_user", "clone_high", "clone3_user",
                   "tool", "mount_tmpfs", "mount_bind", "mount_proc", "mount_remount",
                   "umount_proc", "chroot", "fsopen", "open_tree"},
    "neighbours": {"watches", "pipes", "passing", "signals"},
}  # fmt: skip
"""What a weak box lets by on any kernel of these years: the positive control of each group."""


@pytest.mark.parametrize("name", ["bubblewrap", "runc"])
@pytest.mark.timeout(180)
async def test_nothing_gets_out_of_a_strict_box(name):
    sandbox = adapter(name)
    if not sandbox.probe().enforces >= STRICT:
        missing(f"{name} holds no strict boxes here: {sandbox.probe().lacking}")
    skip = LONG if name == "bubblewrap" else [each.name for each in attempts() if each.alone]
    found = await attempt_all(sandbox, Profile(), lambda _: None, skip=skip)
    assert [f"{one.id}: {one.how}" for one in found if not one.stopped] == []
    assert figures_of(name, found)[f"{name}_attempts"] == len(attempts()) - len(skip) + 1 + len(
        PAIRS
    )


@pytest.mark.timeout(180)
async def test_each_group_of_attempts_gets_out_of_a_weak_box_so_that_the_suite_can_fail(weak):
    expected = {f"{group}.{name}" for group, names in GETS_OUT.items() for name in names}
    through = set()
    for _ in range(3):  # what is counted per user, other tests' boxes may hold at that moment
        found = await attempt_all(weak, Profile(), lambda _: None, skip=(*LONG, *LEAVES, *BIG))
        through |= {
            one.id for one in found if not one.stopped and not one.how.startswith("unclear")
        }
        if expected <= through:
            break
    assert expected - through == set()
    # Devices need root, and results are taken by the same careful hands whatever the box is.
    assert set(GROUPS) - THROUGH_GATE - {one.partition(".")[0] for one in expected} == {
        "devices",
        "output",
    }
