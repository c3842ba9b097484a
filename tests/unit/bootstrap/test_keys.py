"""If this fails, a machine that slept through a lease wakes and serves by what it knew before."""

import time

from portcullis.bootstrap.keys import SystemClock


def test_time_in_which_the_machine_slept_counts():
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= SystemClock().monotonic() <= time.clock_gettime(time.CLOCK_BOOTTIME)
