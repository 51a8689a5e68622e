"""What trainings write while everything around them fails, and what they say of it.

Each content follows from the pod's UID and the path, so that whatever arrives can be told from what nobody wrote, also
when it was torn off in the middle. The words go into a file on a volume of the pod's own, which the node keeps: what is
said on standard output while containerd is killed is lost.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

#: Below here files are written under a name that is left out, and renamed: never is a part of one to arrive.
RENAMED: Final = "renamed/"
METRICS: Final = "metrics.jsonl"

#: The volume, where it is mounted, and the file.
LEDGER_VOLUME: Final = "ledger"
LEDGER_FOLDER: Final = "/ledger"
LEDGER_FILE: Final = "words"

#: Run by `python -c`. It says BEGIN with its iteration, BEGUN and COMPLETED for each file, ENDED when it ends so.
PROGRAM: Final = """
import hashlib, json, os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as PID 1 it would not end by it
root, pod, files = os.environ["PINNACE_ARTIFACTS_DIR"], os.environ["POD_UID"], int(os.environ["SMALL_FILES"])
seconds, digest = float(os.environ["SECONDS_TO_RUN"]), hashlib.sha256()
offset = int(hashlib.sha256(pod.encode()).hexdigest()[:6], 16)
ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def say(*words):
    os.write(ledger, (" ".join(map(str, words)) + "\\n").encode())

def complete(path, sha256):
    say("COMPLETED", sha256, path)

def write(path, size, renamed=False, marked=False):
    say("BEGUN", size, path)
    full = os.path.join(root, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    content = hashlib.shake_256(f"{pod}/{path}".encode()).digest(size)
    with open(full + ".tmp" if renamed else full, "wb") as file:
        for start in range(0, size, 2**20):
            file.write(content[start : start + 2**20])
        file.flush()
        os.fsync(file.fileno())
    if renamed:
        os.replace(full + ".tmp", full)
    if marked:
        open(full + ".done", "w").close()
    complete(path, hashlib.sha256(content).hexdigest())

say("BEGIN", os.environ["PINNACE_ITERATION_ID"], os.environ["PINNACE_EXPERIMENT"])
started, number = time.monotonic(), 0
with open(os.path.join(root, "metrics.jsonl"), "w", buffering=1) as metrics:
    while number < files or time.monotonic() - started < seconds:
        if number < files:
            write(f"{('renamed', 'plain')[number % 2]}/{number}.bin", 900 * number + 40, renamed=number % 2 == 0)
        if number == files // 2 and int(os.environ["BIG_MIB"]):
            write("big/checkpoint.bin", int(os.environ["BIG_MIB"]) * 2**20, marked=True)
        line = json.dumps({"step": number, "loss": offset + number / 1000}) + "\\n"
        metrics.write(line)
        digest.update(line.encode())
        say("STEP", number)
        number += 1
        time.sleep(min(seconds / max(files, 8), 0.7))
complete("metrics.jsonl", digest.hexdigest())
say("ENDED", os.environ["EXIT_CODE"])
sys.exit(int(os.environ["EXIT_CODE"]))
"""


@dataclass(slots=True, kw_only=True)
class Told:
    """What one pod said. `iteration` is empty when its training never began."""

    pod: str
    uid: str
    namespace: str
    iteration: str = ""
    experiment: str = ""
    #: Path → the size that was meant.
    begun: dict[str, int] = field(default_factory=dict)
    #: Path → SHA-256.
    completed: dict[str, str] = field(default_factory=dict)
    steps: int = 0
    #: The exit code with which it ended by itself.
    ended: int | None = None

    def take(self, line: str) -> None:
        match line.split(" ", 2):
            case ["BEGIN", iteration, experiment]:
                self.iteration, self.experiment = iteration, experiment
            case ["BEGUN", size, path]:
                self.begun[path] = int(size)
            case ["COMPLETED", sha256, path]:
                self.completed[path] = sha256
            case ["STEP", number]:
                self.steps = int(number) + 1
            case ["ENDED", code]:
                self.ended = int(code)

    def explains(self, path: str, sha256: str, size: int) -> bool:
        """Whether this pod wrote that: what it completed, or the beginning of what it had begun."""
        if self.completed.get(path) == sha256:
            return True
        if path == METRICS:
            # One line may have been written and not yet told of.
            meant = metrics_content(self.uid, self.steps + 1)
        elif path in self.begun and not path.startswith(RENAMED):
            meant = content(self.uid, path, self.begun[path])
        else:
            return False
        return size <= len(meant) and hashlib.sha256(meant[:size]).hexdigest() == sha256


def content(pod: str, path: str, size: int) -> bytes:
    return hashlib.shake_256(f"{pod}/{path}".encode()).digest(size)


def loss(pod: str, step: int) -> float:
    """No two pods report the same value."""
    return int(hashlib.sha256(pod.encode()).hexdigest()[:6], 16) + step / 1000


def metrics_content(pod: str, steps: int) -> bytes:
    lines = [json.dumps({"step": step, "loss": loss(pod, step)}) + "\n" for step in range(steps)]
    return "".join(lines).encode()


def told(listing: Iterable[str]) -> list[Told]:
    """The pods out of what the node kept of them: `==> NAMESPACE_POD_UID` and then what the pod said, if anything."""
    found: list[Told] = []
    for line in listing:
        if line.startswith("==> "):
            namespace, pod, uid = line.removeprefix("==> ").split("_")
            found.append(Told(pod=pod, uid=uid, namespace=namespace))
        elif found:
            found[-1].take(line)
    return found
