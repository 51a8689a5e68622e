"""An outside ledger of what training pods wrote, and the comparison that decides whether a promise was kept.

The writer prints `LEDGER <sha256> <path>` for each content that it completed; the test reads the pod's log, so the
ledger depends on nothing that is under test. Bytes are read back with a client that is not ours.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field

from minio import Minio

from pinnace.records import Artifact

#: Run by `python -c`: options by environment. Each file is written, flushed and only then entered in the ledger.
#: With HOLD it says HOLDING after its small files and waits for that file; then it writes LATE_FILES, each with its
#: marker, and FLOOD_MIB that nobody completes. With STAY it ends when there is a file of that
#: name with `.end` behind it.
WRITER = """
import hashlib, json, os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as PID 1 it would not end by it
root, index = os.environ["PINNACE_ARTIFACTS_DIR"], os.environ["PINNACE_ITERATION"]
small, big_mib = int(os.environ.get("SMALL_FILES", "3")), int(os.environ.get("BIG_MIB", "0"))
seconds, code = float(os.environ.get("SECONDS_TO_RUN", "3")), int(os.environ.get("EXIT_CODE", "0"))

def enter(path, digest):
    print("LEDGER", digest, path, flush=True)

def write(path, chunks):
    full, digest = os.path.join(root, path), hashlib.sha256()
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "wb") as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
        file.flush()
        os.fsync(file.fileno())
    enter(path, digest.hexdigest())

def write_marked(path, chunks):
    write(path, chunks)
    open(os.path.join(root, path + ".done"), "w").close()

def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.05)

def hold(until):
    print("HOLDING", flush=True)
    wait_for(until)
    for number in range(int(os.environ.get("LATE_FILES", "0"))):
        write_marked(f"late/{number}.bin", [os.urandom(1000 * number + 7)])
    with open(os.path.join(root, "flood.tmp"), "wb") as flood:
        for _ in range(int(os.environ.get("FLOOD_MIB", "0"))):
            flood.write(bytes(2**20))
    if "STAY" in os.environ:
        wait_for(until + ".end")

if big_mib:
    write_marked("big/checkpoint.bin", (os.urandom(2**20) for _ in range(big_mib)))
started, number = time.monotonic(), 0
lines = hashlib.sha256()
with open(os.path.join(root, "metrics.jsonl"), "w", buffering=1) as metrics:
    while number < small or time.monotonic() - started < seconds:
        if number < small:
            write(f"files/{number}.bin", [os.urandom(min(1000 * number, 100_000) + 1)])
        line = json.dumps({"step": number, "accuracy": number / 1000}) + "\\n"
        metrics.write(line)
        lines.update(line.encode())
        number += 1
        time.sleep(seconds / max(small, 10))
    if "HOLD" in os.environ:
        hold(os.environ["HOLD"])
enter("metrics.jsonl", lines.hexdigest())
print("STEPS", number, flush=True)
sys.exit(code)
"""


@dataclass(slots=True)
class Ledger:
    """What one iteration's pod said it completed."""

    entries: list[tuple[str, str]] = field(default_factory=list)
    steps: int = 0

    @classmethod
    def from_log(cls, log: str) -> "Ledger":
        ledger = cls()
        for line in log.splitlines():
            if line.startswith("LEDGER "):
                _, sha256, path = line.split(" ", 2)
                ledger.entries.append((path, sha256))
            elif line.startswith("STEPS "):
                ledger.steps = int(line.split()[1])
        return ledger


def differences(ledger: Ledger, rows: list[Artifact], bucket: Minio) -> list[str]:
    """Everything that is not as promised, in words; an empty list when each entry is ashore exactly once."""
    found: list[str] = []
    counted = Counter((row.path, row.sha256) for row in rows)
    for entry in ledger.entries:
        if counted[entry] != 1:
            found.append(f"{entry[0]}: {counted[entry]} rows with sha256 {entry[1]}, expected exactly one")
    for entry in counted:
        if entry not in ledger.entries:
            found.append(f"{entry[0]}: a row with sha256 {entry[1]} that nobody wrote")
    for row in rows:
        digest, size = read_back(bucket, row.location.bucket, row.location.key)
        if (digest, size) != (row.sha256, row.size):
            found.append(f"{row.path}: the object {row.location.key} has {size} bytes, sha256 {digest}, unlike the row")
    return found


def read_back(bucket: Minio, name: str, key: str) -> tuple[str, int]:
    """SHA-256 and size of an object as the store hands it out."""
    digest, size = hashlib.sha256(), 0
    with bucket.get_object(name, key) as answer:
        for chunk in answer.stream(2**20):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def objects(bucket: Minio, name: str) -> set[str]:
    """All keys in the bucket."""
    return {item.object_name or "" for item in bucket.list_objects(name, recursive=True)}
