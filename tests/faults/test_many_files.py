"""As many files as one likes on the volume at once: the sidecar's memory does not grow with them."""

import re
from pathlib import Path

import pytest

from pinnace.records import FileState
from support.eventually import eventually
from support.scenario import Scenario

FILES = 6_000
#: Of these the sidecar holds so many in memory, as it does by default of 100,000.
PLACES = 983
#: What they may add to the memory of a process that has just started: the places, buffers and threads.
GROWTH_MIB = 20


def memory(pod: Scenario, field: str) -> float:
    """In MiB."""
    (kib,) = re.findall(rf"{field}:\s*(\d+) kB", Path(f"/proc/{pod.sidecar.pid}/status").read_text())
    return int(kib) / 1024


def write(folder: Path, number: int, per_folder: int) -> None:
    for index in range(number):
        if index % per_folder == 0:
            here = folder / f"{index:06}"
            here.mkdir(parents=True)
        (here / f"sample-of-the-evaluation-{index:07}.json").write_bytes(b"%64d" % index)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("per_folder", [FILES, 20], ids=["one folder", "many folders"])
def test_memory_does_not_grow_with_the_number_of_files(pod: Scenario, per_folder: int) -> None:
    write(pod.sidecar.volume, FILES, per_folder)
    pod.sidecar.start(PINNACE_TUNING_WATCHED_FILES=str(PLACES))
    before = memory(pod, "VmRSS")
    eventually(lambda: len(pod.store.objects) == FILES, timeout=200, what="all of them ashore")
    assert memory(pod, "VmHWM") < before + GROWTH_MIB
    assert memory(pod, "VmHWM") < 64
    # Killed, and again with all of them in the journal.
    pod.sidecar.kill()
    pod.sidecar.start(PINNACE_TUNING_WATCHED_FILES=str(PLACES))
    pod.sidecar.end_writers()
    assert pod.sidecar.wait(timeout=120) == 0
    report = pod.sidecar.last_words()
    assert report.final
    assert report.files[FileState.RECORDED] == FILES == report.manifest.count
    assert list(pod.copies.iterdir()) == []
