"""If these fail, a box can ask the kernel for what the list does not name, or cannot live."""

import errno
import struct

import pytest

from portcullis.execution.sandbox import bpf, seccomp

MACHINES = sorted(seccomp.ARCHITECTURES)
EPERM, ENOSYS = bpf.refuse(errno.EPERM), bpf.refuse(errno.ENOSYS)
NEVER = """
    mount umount2 unshare setns pivot_root chroot ptrace process_vm_readv process_vm_writev
    keyctl add_key request_key bpf perf_event_open userfaultfd kexec_load kexec_file_load
    init_module finit_module delete_module reboot swapon swapoff settimeofday clock_settime
    adjtimex quotactl open_by_handle_at name_to_handle_at fanotify_init syslog acct sethostname
    setdomainname vmsplice process_madvise pidfd_getfd kcmp move_pages migrate_pages mbind
    open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr memfd_secret setgroups
    shmget msgget semget mq_open io_setup seccomp sync modify_ldt iopl ioperm vhangup
""".split()  # noqa: SIM905 - as a list it would be a page


def judged(program: bytes, data: bytes) -> int:
    """What the kernel would answer: classic BPF on one ``struct seccomp_data``."""
    lines = list(struct.iter_unpack("<HBBI", program))
    place = accumulator = 0
    for _ in range(len(lines)):
        code, yes, no, value = lines[place]
        place += 1
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif code == 0x54:
            accumulator &= value
        elif code == 0x15:
            place += yes if accumulator == value else no
        elif code == 0x35:
            place += yes if accumulator >= value else no
        elif code == 0x05:
            place += value
        elif code == 0x06:
            return value
        else:
            msg = f"unknown instruction {code:#x}"
            raise AssertionError(msg)
    msg = "no answer"
    raise AssertionError(msg)


def asked(machine: str, name: str | int, *arguments: int, audit: int | None = None) -> int:
    number = seccomp.numbers(machine)[name] if isinstance(name, str) else name
    filled = (*arguments, *[0] * (6 - len(arguments)))
    audit = seccomp.ARCHITECTURES[machine].audit if audit is None else audit
    data = struct.pack("<IIQ6Q", number, audit, 0, *filled)
    return judged(seccomp.program(machine), data)


@pytest.mark.parametrize("machine", MACHINES)
def test_only_what_the_list_names_is_allowed(machine):
    listed = {rule.name for rule in seccomp.rules()}
    table = seccomp.numbers(machine)
    for name, number in table.items():
        if name not in listed:
            assert asked(machine, number) in {EPERM, ENOSYS}, name
    assert asked(machine, "read") == bpf.ALLOW
    assert {name for name in NEVER if name in listed} == set()
    assert all(asked(machine, name) == EPERM for name in NEVER if name in table)
    assert asked(machine, max(table.values()) + 1) == ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_other_architectures_and_abis_end_the_process(machine):
    assert asked(machine, "read", audit=0x40000003) == bpf.KILL  # i386
    assert asked(machine, "read", audit=0x40000028) == bpf.KILL  # arm
    if machine == "x86_64":
        assert asked(machine, 0x40000000) == bpf.KILL  # x32
        assert asked(machine, 0xFFFFFFFF) == bpf.KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_no_new_namespace_and_no_call_whose_flags_cannot_be_read(machine):
    threads = 0x3D0F00
    assert asked(machine, "clone", threads) == bpf.ALLOW
    assert asked(machine, "clone", 17) == bpf.ALLOW
    for flag in (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert asked(machine, "clone", threads | flag) == EPERM
        assert asked(machine, "clone", 0xFFFFFFFF00000000 | flag) == EPERM
    for name in ("clone3", "openat2", "io_uring_setup", "io_uring_enter"):
        assert asked(machine, name) == ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_nothing_is_typed_into_a_terminal_whatever_the_high_bits_say(machine):
    for request in (0x5412, 0x541C, 0x5410 + (1 << 16)):
        for high in (0, 0xDEADBEEF00000000):
            assert asked(machine, "ioctl", 0, high | request) == bpf.refuse(errno.ENOTTY)
    assert asked(machine, "ioctl", 0, 0x5401) == bpf.ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_sockets_are_of_few_families_and_protocols(machine):
    for wanted in ((1, 1, 0), (1, 5, 0), (2, 1, 0), (2, 1, 6), (10, 2, 17), (2, 0x80801, 0)):
        assert asked(machine, "socket", *wanted) == bpf.ALLOW, wanted
    for foreign in ((16, 3, 0), (17, 3, 0), (38, 5, 0), (40, 1, 0), (2, 3, 255), (2, 1, 262),
                    (2, 1, 132), (10, 3, 58), (44, 3, 0)):  # fmt: skip
        assert asked(machine, "socket", *foreign) == bpf.refuse(errno.EAFNOSUPPORT), foreign
    assert asked(machine, "socketpair", 1, 1) == bpf.ALLOW
    assert asked(machine, "socketpair", 2, 1) == bpf.refuse(errno.EAFNOSUPPORT)


@pytest.mark.parametrize("machine", MACHINES)
def test_no_set_user_id_file_and_no_device_is_made(machine):
    assert asked(machine, "fchmod", 3, 0o644) == bpf.ALLOW
    assert asked(machine, "fchmod", 3, 0o4755) == EPERM
    assert asked(machine, "fchmodat", 3, 0, 0o2755) == EPERM
    assert asked(machine, "openat", 3, 0, 0o100, 0o644) == bpf.ALLOW
    assert asked(machine, "openat", 3, 0, 0, 0o7777) == bpf.ALLOW
    assert asked(machine, "openat", 3, 0, 0o100, 0o4644) == EPERM
    assert asked(machine, "mknodat", 3, 0, 0o010600) == bpf.ALLOW
    for mode in (0o020666, 0o060666, 0o104755):
        assert asked(machine, "mknodat", 3, 0, mode) == EPERM


def test_a_personality_is_asked_and_not_taken():
    assert asked("x86_64", "personality", 0xFFFFFFFF) == bpf.ALLOW
    assert asked("x86_64", "personality", 0x0040000) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_oci_runtimes_get_the_same_list(machine):
    said = seccomp.oci(machine)
    allowed = {name for one in said["syscalls"] if one["action"] == "SCMP_ACT_ALLOW"
               for name in one["names"]}  # fmt: skip
    table = seccomp.numbers(machine)
    assert allowed == {rule.name for rule in seccomp.rules() if rule.name in table}
    assert said["defaultAction"] == "SCMP_ACT_ERRNO"
    assert said["architectures"] == [seccomp.ARCHITECTURES[machine].oci]
    conditions = [one for one in said["syscalls"] if "args" in one]
    assert all(len(one["names"]) == 1 for one in conditions)
    assert {tuple(one["names"]) for one in conditions}.isdisjoint(
        {(name,) for name in said["syscalls"][0]["names"]}
    )


def test_every_call_of_the_list_is_one_that_a_kernel_has():
    known = seccomp.numbers("x86_64").keys() | seccomp.numbers("aarch64").keys()
    assert {rule.name for rule in seccomp.rules()} <= known
    names = [rule.name for rule in seccomp.rules()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("machine", MACHINES)
def test_nobody_watches_what_boxes_share_and_no_program_gets_into_the_kernel(machine):
    assert asked(machine, "inotify_init1") == ENOSYS
    for command in (1024, 1026, 1031, 0xFFFFFFFF00000000 | 1026):
        assert asked(machine, "fcntl", 3, command) == EPERM
    assert asked(machine, "fcntl", 3, 1030) == bpf.ALLOW
    for level, option in ((1, 26), (1, 50), (1, 51), (1, 25), (6, 31), (0, 64), (41, 64), (270, 1)):
        assert asked(machine, "setsockopt", 3, level, option) == EPERM, (level, option)
    for level, option in ((1, 2), (1, 9), (6, 1), (41, 26), (17, 103)):
        assert asked(machine, "setsockopt", 3, level, option) == bpf.ALLOW, (level, option)


@pytest.mark.parametrize("machine", MACHINES)
def test_no_huge_pages_which_no_control_group_of_ours_counts(machine):
    private = 0x22
    assert asked(machine, "mmap", 0, 4096, 3, private) == bpf.ALLOW
    assert asked(machine, "mmap", 0, 2**21, 3, private | 0x40000) == bpf.refuse(errno.ENOMEM)
    assert asked(machine, "memfd_create", 0, 1) == bpf.ALLOW
    assert asked(machine, "memfd_create", 0, 4) == bpf.refuse(errno.EINVAL)
