"""Training processes of every kind, each with a ledger of its own that is durable line by line.

    python soak_writers.py KIND LEDGER ARTIFACTS BUFFER ITERATION STOP SEED

writes files of that kind until STOP exists. What a file holds follows from seed, path and version (`content`), so that
whoever reads the ledger can tell a beginning of it from something that nobody wrote. Two kinds of lines count: `begun`
before the first byte, `completed` when the content is there for good, or is about to be changed or deleted but was seen
as a copy in the buffer.
"""

import json
import mmap
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from pinnace.ids import artifact_id

MIB = 2**20
#: How long a writer waits to see its file in the buffer before it goes on without counting it.
_PATIENCE_S = 10.0
_ODD_NAMES = (
    "with space", "ünïcödé", "new\nline", "not-utf8-\udcff\udc80", "100%", "a%FF", "a+b", "~tilde", "%2F", "x" * 255,
    "-dash", ".hidden", "quote'\"", "emoji-🚢", "back\\slash", "a%25FF",
)  # fmt: skip


def content(seed: int, path: str, version: int, size: int) -> bytes:
    """What a file was meant to hold."""
    return random.Random(f"{seed}:{path!r}:{version}").randbytes(size)


@dataclass(slots=True)
class Pen:
    """One writer's tools."""

    artifacts: Path
    buffer: Path
    iteration: UUID
    ledger: int
    stop: Path
    seed: int
    rng: random.Random

    def enter(self, event: str, path: str, **facts: object) -> None:
        """One line into the ledger; it is on the disk when this returns."""
        line = {"event": event, "path": os.fsencode(path).hex(), "at": time.time(), **facts}
        os.write(self.ledger, json.dumps(line).encode() + b"\n")
        os.fsync(self.ledger)

    def begin(self, path: str, size: int, version: int = 0) -> bytes:
        """What to write to `path`, entered as begun; its folder is there."""
        (self.artifacts / path).parent.mkdir(parents=True, exist_ok=True)
        self.enter("begun", path, version=version, size=size)
        return content(self.seed, path, version, size)

    def complete(self, path: str, data: bytes) -> None:
        self.enter("completed", path, sha256=sha256(data).hexdigest(), size=len(data))

    def saw_copy(self, path: str, data: bytes) -> bool:
        """Wait until the buffer has a copy of this content; False when that took too long."""
        name = str(artifact_id(self.iteration, path, sha256(data).hexdigest()))
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until and not self.stop.exists():
            if (self.buffer / name).exists():
                return True
            time.sleep(0.005)
        return False

    def pause(self, shortest: float, longest: float) -> None:
        time.sleep(self.rng.uniform(shortest, longest))


def plain(pen: Pen, number: int) -> None:
    path = f"plain/{number}.bin"
    data = pen.begin(path, pen.rng.choice([0, 1, 100, 5_000, 200_000]))
    (pen.artifacts / path).write_bytes(data)
    pen.complete(path, data)
    pen.pause(0.1, 0.4)


def append(pen: Pen, number: int) -> None:
    path = f"append/{number}.log"
    data = pen.begin(path, 10_000)
    with (pen.artifacts / path).open("ab", buffering=0) as file:
        for start in range(0, len(data), 1000):
            file.write(data[start : start + 1000])
            pen.pause(0.01, 0.15)
    pen.complete(path, data)


def rename(pen: Pen, number: int) -> None:
    path = f"rename/{number}.ckpt"
    data = pen.begin(path, 50_000)
    temporary = pen.artifacts / f"{path}.tmp"
    temporary.write_bytes(data[:20_000])
    pen.pause(0.0, 0.5)
    temporary.write_bytes(data)
    temporary.rename(pen.artifacts / path)
    pen.complete(path, data)
    pen.pause(0.1, 0.4)


def marker(pen: Pen, number: int) -> None:
    path = f"marker/{number}.pt"
    data = pen.begin(path, 30_000)
    with (pen.artifacts / path).open("wb", buffering=0) as file:
        file.write(data[:10_000])
        pen.pause(0.0, 0.2)
        file.write(data[10_000:])
    (pen.artifacts / f"{path}.done").touch()
    pen.complete(path, data)
    pen.pause(0.1, 0.4)


def rewrite(pen: Pen, number: int) -> None:
    path, file = f"rewrite/{number}.bin", pen.artifacts / f"rewrite/{number}.bin"
    for version in range(3):
        data = pen.begin(path, 8_000, version)
        with file.open("r+b" if version else "wb", buffering=0) as target:
            target.write(data)
        if version == 2:
            # The same size and an older time: only the change time tells.
            os.utime(file, (1, 1))
        if version == 2 or pen.saw_copy(path, data):
            pen.complete(path, data)
    pen.pause(0.1, 0.4)


def mapped(pen: Pen, number: int) -> None:
    path = f"mapped/{number}.bin"
    data = pen.begin(path, 3 * mmap.PAGESIZE + 17)
    with (pen.artifacts / path).open("w+b") as file:
        file.truncate(len(data))
        with mmap.mmap(file.fileno(), len(data)) as memory:
            memory[:] = data
            memory.flush()
    pen.complete(path, data)
    pen.pause(0.2, 0.5)


def delete(pen: Pen, number: int) -> None:
    path = f"delete/{number}.bin"
    data = pen.begin(path, 20_000)
    (pen.artifacts / path).write_bytes(data)
    if pen.saw_copy(path, data):
        pen.complete(path, data)
        (pen.artifacts / path).unlink()
    elif pen.stop.exists():
        pen.complete(path, data)
    else:
        (pen.artifacts / path).unlink()
    pen.pause(0.0, 0.2)


def nested(pen: Pen, number: int) -> None:
    path = f"nested/{number}/a/b/c/d/leaf"
    # The same content again and again: other paths, other artifacts.
    data = pen.begin(path, 0)
    (pen.artifacts / path).write_bytes(data)
    pen.complete(path, data)
    if number % 3 == 0:
        (pen.artifacts / f"nested/{number}/link").symlink_to("/etc/hostname")
        os.mkfifo(pen.artifacts / f"nested/{number}/fifo")
    pen.pause(0.2, 0.5)


def odd(pen: Pen, number: int) -> None:
    path = f"odd/{number // len(_ODD_NAMES)}/{_ODD_NAMES[number % len(_ODD_NAMES)]}"
    data = pen.begin(path, 300)
    (pen.artifacts / path).write_bytes(data)
    pen.complete(path, data)
    pen.pause(0.1, 0.3)


def large(pen: Pen, number: int) -> None:
    path = f"large/{number}.ckpt"
    data = pen.begin(path, (5 * MIB + 1, 11 * MIB, 5 * MIB + 1, 5 * MIB)[number % 4])
    with (pen.artifacts / path).open("wb") as file:
        for start in range(0, len(data), MIB):
            file.write(data[start : start + MIB])
    pen.complete(path, data)
    for _ in range(8):
        if pen.stop.exists():
            return
        pen.pause(0.3, 0.6)


def metrics(pen: Pen, number: int) -> None:
    path, written = f"metrics/{number}.jsonl", b""
    (pen.artifacts / path).parent.mkdir(exist_ok=True)
    with (pen.artifacts / path).open("ab", buffering=0) as file:
        for step in range(200):
            value = "NaN" if step % 50 == 7 else str(step / 8)
            line = b'{"loss": %s, "step": %d}\n' % (value.encode(), 1000 * number + step)
            torn = pen.rng.randrange(len(line))
            pen.enter("point", path, key="loss", step=1000 * number + step, value=value)
            file.write(line[:torn])
            pen.pause(0.0, 0.03)
            file.write(line[torn:])
            written += line
            if step % 40 == 0:
                file.write(b"no metric line\n")
                written += b"no metric line\n"
            if pen.stop.exists():
                break
    pen.complete(path, written)


KINDS: dict[str, Callable[[Pen, int], None]] = {
    writer.__name__: writer
    for writer in (plain, append, rename, marker, rewrite, mapped, delete, nested, odd, large, metrics)
}


def _numbers(stop: Path) -> Iterator[int]:
    number = 0
    while not stop.exists():
        yield number
        number += 1


def main(arguments: list[str]) -> None:
    kind, ledger, artifacts, buffer, iteration, stop, seed = arguments
    pen = Pen(
        artifacts=Path(artifacts),
        buffer=Path(buffer),
        iteration=UUID(iteration),
        ledger=os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        stop=Path(stop),
        seed=int(seed),
        rng=random.Random(f"{seed}{kind}"),
    )
    for number in _numbers(pen.stop):
        KINDS[kind](pen, number)


if __name__ == "__main__":
    main(sys.argv[1:])
