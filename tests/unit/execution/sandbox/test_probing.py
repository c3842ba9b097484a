"""If this fails, a box is said to be held by what was not seen to hold it."""

from portcullis.core.sandbox import Hold
from portcullis.execution.sandbox.probing import held


def test_somebody_elses_filter_and_a_user_without_rights_prove_nothing():
    seen = {"Seccomp": "2", "List": "1", "Mounted/": "rw ro", "Mounted/usr": "ro"}
    proven = {Hold.SYSCALLS, Hold.READ_ONLY_ROOT}
    assert proven <= held(seen)
    assert Hold.SYSCALLS not in held(seen | {"List": "0"})
    assert Hold.SYSCALLS not in held(seen | {"Seccomp": "0"})
    assert Hold.READ_ONLY_ROOT not in held(seen | {"Mounted/": "ro rw"})
    assert Hold.READ_ONLY_ROOT not in held(seen | {"Mounted/usr": "rw"})
    assert proven.isdisjoint(held({}))
