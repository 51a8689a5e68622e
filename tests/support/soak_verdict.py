"""The outside ledger of a soak against what store and API hold: every promise that was not kept, in words."""

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from pinnace.records import Artifact, MetricPoint
from pinnace_sidecar.files import wire_path
from support.soak_writers import content


@dataclass(slots=True)
class Ledger:
    """What the writers said. Paths as the API spells them."""

    seed: int
    #: What was completed, for good or seen in the buffer: (path, SHA-256).
    completed: set[tuple[str, str]] = field(default_factory=set)
    #: What was begun, by path: the volume's own path, the version and the size that was meant.
    begun: dict[str, list[tuple[str, int, int]]] = field(default_factory=dict)
    points: Counter[tuple[str, int, str]] = field(default_factory=Counter)

    @classmethod
    def read(cls, files: Iterable[Path], seed: int) -> "Ledger":
        ledger = cls(seed)
        for file in files:
            for line in file.read_text().splitlines():
                ledger._take(json.loads(line))
        return ledger

    def _take(self, line: dict[str, object]) -> None:
        own = os.fsdecode(bytes.fromhex(str(line["path"])))
        path = wire_path(own)
        match line["event"]:
            case "completed":
                self.completed.add((path, str(line["sha256"])))
            case "begun":
                self.begun.setdefault(path, []).append((own, int(str(line["version"])), int(str(line["size"]))))
            case "point":
                self.points[str(line["key"]), int(str(line["step"])), str(float(str(line["value"])))] += 1

    def explains(self, row: Artifact) -> bool:
        """Whether the writer of this path did write this: a whole content or the beginning of one."""
        if (row.path, row.sha256) in self.completed:
            return True
        return any(
            sha256(content(self.seed, own, version, size)[: row.size]).hexdigest() == row.sha256
            for own, version, size in self.begun.get(row.path, [])
            if row.size <= size
        )


def differences(
    ledger: Ledger, rows: list[Artifact], objects: dict[str, tuple[str, int]], points: list[MetricPoint]
) -> list[str]:
    """Every broken promise. `objects`: SHA-256 and size by key, as another client reads them."""
    found: list[str] = []
    counted = Counter((row.path, row.sha256) for row in rows)
    found += [f"lost: {path!r} {digest}" for path, digest in sorted(ledger.completed - set(counted))]
    found += [f"doubled: {times} rows of {path!r} {digest}" for (path, digest), times in counted.items() if times > 1]
    for row in rows:
        if objects.get(row.location.key) != (row.sha256, row.size):
            found.append(f"a row without its bytes: {row.path!r} at {row.location.key}")
        if not ledger.explains(row):
            found.append(f"nobody wrote this: {row.path!r} {row.sha256} of {row.size} bytes")
        if row.suspect:
            found.append(f"suspect although its writer ended well: {row.path!r}")
    found += [f"an object without a row: {key}" for key in sorted(set(objects) - {row.location.key for row in rows})]
    arrived = Counter((point.key, point.step, str(float(point.value))) for point in points)
    for point in sorted(set(ledger.points) | set(arrived)):
        if ledger.points[point] != arrived[point]:
            found.append(f"metric {point}: written {ledger.points[point]} times, arrived {arrived[point]} times")
    return found
