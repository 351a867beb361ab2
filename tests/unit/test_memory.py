"""Freed memory stays with the process that asked for it, where the C library can do that."""

import subprocess
import sys

import pytest

from goodfit.memory import keep_freed_memory, release_freed_memory

FAULTS = """
import resource, numpy as np
from goodfit.memory import keep_freed_memory

def faults(kept=None):
    np.full(1 << 26, 1, np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.full(1 << 26, 1, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), keep_freed_memory(), faults())
"""


def test_memory_that_was_freed_needs_no_new_pages():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True)
    before, kept, after = done.stdout.split()
    if kept == "False":
        pytest.skip("this C library does not keep memory on request")
    assert 4 * int(after) < int(before)


RELEASED = """
import numpy as np
from goodfit.memory import keep_freed_memory, release_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1])

kept = keep_freed_memory()
block = [np.full(1 << 16, 1, np.uint8) for _ in range(1 << 10)]
last = bytearray(1 << 10)  # at the end of the heap, so that it cannot shrink by itself
del block
before = resident()
print(kept and release_freed_memory(), before - resident())
"""


def test_what_is_kept_can_be_given_back():
    if sys.platform != "linux":
        pytest.skip("the size of a process is read from /proc")
    done = subprocess.run([sys.executable, "-c", RELEASED], capture_output=True, text=True)
    able, pages = done.stdout.split()
    if able == "False":
        pytest.skip("this C library does not keep memory on request")
    assert int(pages) > 10_000  # of 16,384 pages of 4 KB


def test_a_c_library_without_the_setting_is_no_error(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert not keep_freed_memory()
    assert not release_freed_memory()
