"""A burst of files leaves no memory behind that nobody uses."""

import subprocess
import sys

import pytest

from support.pod import Pod

#: Blocks of many threads, freed: prints the resident KiB before, with them, and after.
_MEASURED = """
import ctypes, sys, threading
from pathlib import Path
from pinnace_sidecar import heap

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4

heap.share()
malloc, free = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
malloc.restype, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
figures = [resident()]
blocks = []

def take():
    for _ in range(5_000):
        block = malloc(3_000)
        ctypes.memset(block, 1, 3_000)
        blocks.append(block)

threads = [threading.Thread(target=take) for _ in range(4)]
for step in (threading.Thread.start, threading.Thread.join):
    for thread in threads:
        step(thread)
top = malloc(3_000)  # keeps the end of the heap, so that only `give_back` can give something back
figures.append(resident())
for block in blocks:
    free(block)
heap.give_back()
figures.append(resident())
print(*figures)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_what_threads_freed_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", _MEASURED], capture_output=True, text=True, check=True, timeout=60)
    before, most, after = map(int, done.stdout.split())
    assert most - before > 50_000
    assert after - before < 5_000


def test_memory_is_given_back_once_after_a_burst_and_not_for_a_few_files(pod: Pod) -> None:
    pod.start()
    for number in range(10):
        pod.write(f"few/{number}", b"x")
    pod.run_for(30)
    assert pod.gave_back == 0
    for number in range(1200):
        pod.write(f"many/{number}", b"x")
    pod.run_for(60)
    assert pod.gave_back == 1
    pod.run_for(60)
    assert pod.gave_back == 1
