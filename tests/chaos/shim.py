"""A library before libc's in the processes under test: their clock jumps, their disk is slow.

It is compiled here. What it does is in a file that the process has mapped: by how many seconds the
wall clock is ahead (the monotonic clock never jumps), how many milliseconds each write that has to
last takes longer, and how often one did, and the wrong clock was read.
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct faults { volatile int64_t seconds, milliseconds; int64_t waited, read; };
static struct faults none, *at = &none;

__attribute__((constructor)) static void begin(void) {
    const char *place = getenv("CHAOS_FAULTS");
    int file = place ? open(place, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(0, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (found != MAP_FAILED) at = found;
    close(file);
}

int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(which, now);
    int64_t ahead = at->seconds;
    if (ahead && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        now->tv_sec += ahead;
        __atomic_add_fetch(&at->read, 1, __ATOMIC_RELAXED);
    }
    return done;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *place) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (place) *place = found.tv_sec;
    return found.tv_sec;
}

static void wait_first(void) {
    if (at->milliseconds <= 0) return;
    __atomic_add_fetch(&at->waited, 1, __ATOMIC_RELAXED);
    usleep(at->milliseconds * 1000);
}

int fdatasync(int file) {
    wait_first();
    return syscall(SYS_fdatasync, file);
}

int fsync(int file) {
    wait_first();
    return syscall(SYS_fsync, file);
}
"""
_SHAPE = struct.Struct("qqqq")


def compiled(folder: Path) -> Path:
    """The library, in a folder. AssertionError where there is no compiler."""
    source, library = folder / "shim.c", folder / "shim.so"
    source.write_text(_SOURCE)
    build = ("cc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl")
    done = subprocess.run(build, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return library


class Shim:
    """One process's: make it before the process starts, with what is in ``environment``."""

    def __init__(self, library: Path, place: Path) -> None:
        self._place = place
        place.write_bytes(bytes(_SHAPE.size))
        self.environment = {"LD_PRELOAD": str(library), "CHAOS_FAULTS": str(place)}

    def jump(self, seconds: int) -> None:
        """Let its clock be so many seconds ahead of the machine's."""
        self._write(0, seconds)

    def slow(self, milliseconds: int) -> None:
        """Let each write that has to last take so much longer."""
        self._write(8, milliseconds)

    def waited(self) -> int:
        """How often one did."""
        return _SHAPE.unpack(self._place.read_bytes())[2]

    def read(self) -> int:
        """How often its clock was read while it was wrong."""
        return _SHAPE.unpack(self._place.read_bytes())[3]

    def _write(self, offset: int, value: int) -> None:
        with self._place.open("r+b") as file:
            file.seek(offset)
            file.write(struct.pack("q", value))
