"""If this fails, the doctor is content with a log of another host that does not come any more."""

import os
import time

import pytest

from portcullis.cli.doctor_hosts import _there
from portcullis.config import Config
from portcullis.config.places import VKEY, audit_directory
from portcullis.core.hosts import Presence

SAID = Presence(name="edge", log="edge", host="h", at=1.0, apart=True, vkey="v", version="1")


@pytest.mark.parametrize("ago", [10, 7200, None], ids=["now", "old", "gone"])
def test_a_log_that_does_not_come_any_more_is_a_finding(ago, tmp_path):
    config = Config(trust_domain="example.org", state=tmp_path)
    place = audit_directory(config, "edge")
    place.mkdir(parents=True)
    (place / VKEY).touch()
    if ago is not None:
        (place / "checkpoint").touch()
        os.utime(place / "checkpoint", (time.time() - ago,) * 2)
    found = _there(config, SAID, runs=True)
    assert found.ok == (ago == 10)
    assert ("looked at last 2 h ago" in found.found) == (ago == 7200)
