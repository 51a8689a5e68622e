"""As many files as one likes on the volume at once, the real sidecar beside them, and what its memory grew to.

    python -m support.many_files --files 100000

prints it as JSON and ends with 1 when it was too much or a file did not come ashore.
"""

import argparse
import json
import re
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from pinnace.records import FileState
from support.eventually import eventually
from support.scenario import Scenario, scenario

LIMIT_MIB = 64
#: The slowest that a machine may be without being taken for stuck.
_FILES_PER_SECOND = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`…_mib` are peaks of resident memory: of the process that shipped all files, and of one that found them done."""

    files: int
    per_folder: int
    recorded: int
    listed: int
    left_in_buffer: int
    shipping_mib: float
    restarted_mib: float
    seconds: float

    @property
    def broken(self) -> list[str]:
        """The promises that were not kept."""
        return [
            promise
            for promise, kept in (
                ("every file is recorded", self.recorded == self.listed == self.files),
                ("no copy is left behind", self.left_in_buffer == 0),
                (f"at most {LIMIT_MIB} MiB", max(self.shipping_mib, self.restarted_mib) <= LIMIT_MIB),
            )
            if not kept
        ]


def ship(pod: Scenario, files: int, per_folder: int, **tuning: str) -> Outcome:
    """Have so many files shipped, kill the sidecar, and let another one end the pod. `tuning` goes into its
    environment, which has the defaults without it.
    """
    patience = 60 + files / _FILES_PER_SECOND
    sidecar = pod.sidecar
    sidecar.settings = msgspec.structs.replace(sidecar.settings, drain_timeout_seconds=int(patience))
    _write(sidecar.volume, files, per_folder)
    began = time.monotonic()
    sidecar.start(**tuning)
    eventually(lambda: len(pod.store.objects) == files, timeout=patience, what="all of them ashore")
    seconds = time.monotonic() - began
    shipping = _peak_mib(sidecar.pid)
    sidecar.kill()
    sidecar.start(**tuning)
    sidecar.end_writers()
    restarted = 0.0
    while sidecar.running:
        restarted = max(restarted, _peak_mib(sidecar.pid))
        time.sleep(0.02)
    report = sidecar.last_words()
    return Outcome(
        files=files,
        per_folder=per_folder,
        recorded=report.files[FileState.RECORDED] if report.final else 0,
        listed=report.manifest.count,
        left_in_buffer=len(list(pod.copies.iterdir())),
        shipping_mib=shipping,
        restarted_mib=restarted,
        seconds=round(seconds, 1),
    )


def _peak_mib(pid: int) -> float:
    """0 of a process that has ended."""
    found = re.findall(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return round(int(found[0]) / 1024, 1) if found else 0.0


def _write(folder: Path, files: int, per_folder: int) -> None:
    for index in range(files):
        if index % per_folder == 0:
            here = folder / f"{index:06}"
            here.mkdir()
        (here / f"sample-of-the-evaluation-{index:07}.json").write_bytes(b"%64d" % index)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="support.many_files", description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--per-folder", type=int, default=0, help="0: all in one")
    arguments = parser.parse_args(argv)
    with TemporaryDirectory() as folder, scenario(Path(folder)) as pod:
        outcome = ship(pod, arguments.files, arguments.per_folder or arguments.files)
    print(json.dumps({**asdict(outcome), "broken": outcome.broken}))
    return 1 if outcome.broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
