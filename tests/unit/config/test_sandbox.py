"""If these fail, a profile holds less than its name or its file says."""

import pytest
from pydantic import ValidationError

from portcullis.config.sandbox import Sandboxing, lowered
from portcullis.core.sandbox import STRICT, Hold, Network, Profile


def test_strict_is_always_there_and_is_what_was_promised():
    strict = Sandboxing().named()["strict"]
    assert (strict.uid, strict.memory, strict.cpu, strict.pids) == (65534, 256 * 2**20, 0.5, 64)
    assert (strict.tmp, strict.scratch) == (50 * 2**20, 100 * 2**20)
    assert strict.network is Network.NONE
    assert strict.demands == STRICT
    assert lowered(strict) == ()


def test_sizes_are_read_and_what_a_profile_gives_up_is_said():
    found = Sandboxing.model_validate(
        {
            "profiles": {
                "roomy": {"memory": "1GiB", "tmp": "64 MiB", "network": "gate", "waives": ["cpu"]},
                "tight": {"memory": "64MiB", "seconds": 5, "demands": ["apparmor"]},
            }
        }
    ).named()
    assert found["roomy"].memory == 2**30
    assert lowered(found["roomy"]) == ("memory", "tmp", "network: gate", "without cpu")
    assert Hold.APPARMOR in found["tight"].demands
    assert lowered(found["tight"]) == ()
    assert found["tight"].seconds == 5


def test_strict_may_hold_tighter():
    found = Sandboxing.model_validate({"profiles": {"strict": {"pids": 16}}})
    assert found.named()["strict"] == Profile(pids=16)


@pytest.mark.parametrize(
    "said",
    [
        {"profiles": {"strict": {"memory": "1GiB"}}},
        {"profiles": {"strict": {"waives": ["syscalls"]}}},
        {"profiles": {"none": {}}},
        {"profiles": {"a": {"memory": "much"}}},
        {"profiles": {"a": {"memory": 5}}},
        {"profiles": {"a": {"network": "host"}}},
        {"profiles": {"a": {"demands": ["luck"]}}},
        {"adapter": "docker"},
    ],
    ids=["strict-memory", "strict-waives", "none", "size", "small", "network", "hold", "adapter"],
)
def test_what_cannot_be_meant_is_refused(said):
    with pytest.raises(ValidationError):
        Sandboxing.model_validate(said)
