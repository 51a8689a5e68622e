"""The journal's metric lines: how far each file has been read, and the points on their way to the API."""

import os
from dataclasses import dataclass

import msgspec

from pinnace.records import MetricPoint
from pinnace_sidecar.journal.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """How far a file of metric lines has been read. `lines` counts complete lines, `offset` is where the next begins.

    `generation` grows when the file is replaced, cut or rewritten; `mark` is what lay just before `offset`, by which a
    rewritten file is known; `skipping` is True inside a line too long to be kept.
    """

    path: str
    inode: int
    generation: int = 0
    offset: int = 0
    lines: int = 0
    skipping: bool = False
    points: int = 0
    bad: int = 0
    first_bad: str = ""
    mark: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricTotals:
    """Points by where they are, and lines that are no metric lines."""

    acknowledged: int
    unsent: int
    refused: int
    bad_lines: int


class MetricTable:
    """Tails and the outbox of points. A line's points and the offset behind it become durable together, so each line
    is read once, whatever happens to the process, the API or the file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def tails(self) -> list[Tail]:
        rows = self._database.rows(
            "SELECT path, inode, generation, offset, lines, skipping, points, bad, first_bad, mark FROM tails"
            " ORDER BY path"
        )
        return [
            Tail(
                path=os.fsdecode(path),
                inode=int(inode),
                generation=generation,
                offset=offset,
                lines=lines,
                skipping=bool(skipping),
                points=points,
                bad=bad,
                first_bad=first_bad,
                mark=mark,
            )
            for path, inode, generation, offset, lines, skipping, points, bad, first_bad, mark in rows
        ]

    def advance(self, tail: Tail, points: tuple[MetricPoint, ...]) -> None:
        """Remember how far a file has been read together with the points found there: both or neither."""
        with self._database.transaction():
            self._database.execute(
                "INSERT OR REPLACE INTO tails"
                " (path, inode, generation, offset, lines, skipping, points, bad, first_bad, mark)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                os.fsencode(tail.path),
                str(tail.inode),
                tail.generation,
                tail.offset,
                tail.lines,
                tail.skipping,
                tail.points,
                tail.bad,
                tail.first_bad,
                tail.mark,
            )
            if points:
                self._database.execute(
                    "INSERT INTO outbox (points, count) VALUES (?, ?)", msgspec.json.encode(points), len(points)
                )

    def outbox(self, max_points: int) -> tuple[int, tuple[MetricPoint, ...]]:
        """The oldest unsent points, about `max_points` of them, and the id up to which they reach; 0 for none."""
        last = 0
        points: list[MetricPoint] = []
        for entry, encoded, count in self._database.rows("SELECT id, points, count FROM outbox ORDER BY id LIMIT 100"):
            if points and len(points) + count > max_points:
                break
            last = entry
            points.extend(msgspec.json.decode(encoded, type=tuple[MetricPoint, ...]))
        return last, tuple(points)

    def sent(self, last: int, *, refused: int = 0) -> None:
        """The API has all points up to `last`, but for those that it refused."""
        with self._database.transaction():
            self._database.execute("DELETE FROM outbox WHERE id <= ?", last)
            if refused:
                self._database.count("points_refused", refused)

    def totals(self) -> MetricTotals:
        ((points, bad),) = self._database.rows("SELECT coalesce(sum(points), 0), coalesce(sum(bad), 0) FROM tails")
        ((unsent,),) = self._database.rows("SELECT coalesce(sum(count), 0) FROM outbox")
        refused = self._database.count("points_refused", 0)
        return MetricTotals(acknowledged=points - unsent - refused, unsent=unsent, refused=refused, bad_lines=bad)
