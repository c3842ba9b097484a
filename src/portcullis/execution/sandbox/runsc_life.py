"""The first process of a box of runsc: create, start, wait. Standard library only, never imported.

``create`` returns when the box is there and nothing of the order runs yet. Then this says so on
descriptor 3, waits for a line on descriptor 4, starts the command, says so again. It is the first
of a process namespace: the box's own process (its kernel, the Sentry) becomes its child, and ends
with the status of the command; whatever ends this ends all of them.
"""

import os
import sys

_NOT_MADE = 125
_SIGNALLED = 128


def call(words: list[str]) -> int:
    """Run the runtime to its end; its exit status."""
    pid = os.posix_spawn(words[0], words, {})
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(name: str, bundle: str, pid_file: str, *runtime: str) -> int:
    """Return what a shell would show of the command, 125 where it could not be made."""
    for pipe in (3, 4):
        os.set_inheritable(pipe, False)  # noqa: FBT003 - the standard library's signature
    if call([*runtime, "create", "--bundle", bundle, "--pid-file", pid_file, name]):
        return _NOT_MADE
    with open(pid_file, encoding="ascii") as file:  # noqa: PTH123 - pathlib takes longer to import
        sentry = int(file.read())
    with open(f"/proc/{sentry}/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        # What its memory is taken for is the box's: nobody else of the group is to be killed.
        file.write("1000")
    os.write(3, b"\n")
    os.read(4, 1)
    if call([*runtime, "start", name]):
        return _NOT_MADE
    os.write(3, b"\n")
    status = os.waitstatus_to_exitcode(os.waitpid(sentry, 0)[1])
    return _SIGNALLED - status if status < 0 else status


if __name__ == "__main__":
    # Without taking the interpreter apart: the box ends with it, at once.
    os._exit(main(*sys.argv[1:]))
