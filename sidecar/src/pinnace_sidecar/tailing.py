"""Reading metric files while they are written: from where the last look ended, whole lines only.

A file that was replaced (another inode), cut (shorter than what was read) or rewritten (other bytes before the place
that was reached) begins again at 0 as its next generation, so that its points are not taken for those of the file
before. A file that was rotated away is read to its end under its new name first, and only on from the place that was
reached: what else has its inode now is another file. Memory is bounded by one read.
"""

import logging
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from typing import Final

from pinnace.records import MetricPoint
from pinnace_sidecar import metric_lines
from pinnace_sidecar.crash import Crash, CrashPoint
from pinnace_sidecar.files import Fingerprint, OpenFile, Volume, folder_of, wire_path
from pinnace_sidecar.journal import Journal, Tail
from pinnace_sidecar.metric_lines import BadLine

READ_BYTES: Final = 2**20
#: A longer line is bad; it also bounds what one read holds.
MAX_LINE_BYTES: Final = READ_BYTES
_MAX_MESSAGE: Final = 200
#: How much of what was read is kept, to know it again.
_MARK_BYTES: Final = 64
#: With more points than this waiting for the API, the files wait too.
_MAX_UNSENT: Final = 1_000_000

_NO_POINTS: Final[tuple[MetricPoint, ...]] = ()

_log = logging.getLogger(__name__)


class Tailer:
    """Brings new lines of metric files into the journal's outbox."""

    def __init__(self, volume: Volume, journal: Journal, pod_uid: str, crash: Crash) -> None:
        self._volume = volume
        self._journal = journal
        self._pod_uid = pod_uid
        self._crash = crash
        self._tails = {tail.path: tail for tail in journal.metrics.tails()}
        #: How each file looked when it was last read to its end.
        self._looked: dict[str, Fingerprint | None] = {}

    def read(self, paths: Iterable[str], *, at_end: bool) -> bool:
        """Read each file on by at most READ_BYTES; returns whether there may be more to read right away.

        `at_end`: nobody writes to them any more. A file that can't be read is passed over: the intake says so.
        """
        if self._journal.metrics.totals().unsent > _MAX_UNSENT:
            return at_end
        behind = [path for path in sorted(paths) if self._read_one(path, at_end=at_end)]
        return bool(behind)

    def all(self) -> tuple[Tail, ...]:
        """How far each file has been read."""
        return tuple(self._tails.values())

    def _read_one(self, path: str, *, at_end: bool) -> bool:
        """Read one file on; returns whether there may be more of it."""
        tail = self._tails.get(path, Tail(path=path, inode=0))
        now = self._volume.fingerprint(path)
        if not at_end and path in self._looked and now == self._looked[path]:
            return False
        try:
            moved = tail.inode and (now is None or now.inode != tail.inode)
            if moved and self._read_rotated(tail, at_end=at_end or now is not None):
                return True
            if now is None:
                self._looked[path] = None
                return False
            after, points = self._read_file(path, tail, at_end=at_end)
        except OSError as error:
            _log.debug("metric file can't be read", extra={"path": wire_path(path), "error": str(error)})
            return False
        if not self._advance(tail, after, points):
            self._looked[path] = now
            return False
        return at_end or now.size - after.offset > READ_BYTES // 2

    def _read_rotated(self, tail: Tail, *, at_end: bool) -> bool:
        """Read on in the file that had the path before, if it lies in the same folder under another name."""
        name = self._volume.name_of(folder_of(tail.path), tail.inode)
        if name is None:
            return False
        with closing(self._volume.open(name)) as file:
            return self._advance(tail, *read_on(file, tail, self._pod_uid, at_end=at_end))

    def _read_file(self, path: str, tail: Tail, *, at_end: bool) -> tuple[Tail, tuple[MetricPoint, ...]]:
        with closing(self._volume.open(path)) as file:
            return read_lines(file, tail, self._pod_uid, at_end=at_end)

    def _advance(self, before: Tail, after: Tail, points: tuple[MetricPoint, ...]) -> bool:
        if after == before:
            return False
        self._journal.metrics.advance(after, points)
        self._tails[after.path] = after
        self._crash(CrashPoint.POINTS_JOURNALED)
        return True


def read_lines(
    file: OpenFile, tail: Tail, pod_uid: str, *, at_end: bool = False
) -> tuple[Tail, tuple[MetricPoint, ...]]:
    """The points of the next whole lines, at most READ_BYTES of them, and how far the file is read then.

    `at_end` takes a last line without line end as it is, because nobody will finish it. Calling it again with the tail
    that it returned goes on; with nothing new to read it returns the tail unchanged. Raises OSError.
    """
    status = file.fingerprint()
    data = _continuation(file, tail, status)
    if data is None:
        generation = tail.generation + 1 if tail.offset else tail.generation
        tail = replace(tail, inode=status.inode, generation=generation, offset=0, lines=0, skipping=False, mark=b"")
        file.seek(0)
        data = file.read(READ_BYTES)
    return _take_lines(data, tail, pod_uid, size=status.size, at_end=at_end)


def read_on(file: OpenFile, tail: Tail, pod_uid: str, *, at_end: bool = False) -> tuple[Tail, tuple[MetricPoint, ...]]:
    """As read_lines, but a file that does not continue what was read has nothing to say: it is never begun again."""
    status = file.fingerprint()
    data = _continuation(file, tail, status)
    if data is None:
        return tail, _NO_POINTS
    return _take_lines(data, tail, pod_uid, size=status.size, at_end=at_end)


def _continuation(file: OpenFile, tail: Tail, status: Fingerprint) -> bytes | None:
    """What follows the place that was reached; None when this is another file or holds something else before it."""
    if tail.inode != status.inode or status.size < tail.offset:
        return None
    file.seek(tail.offset - len(tail.mark))
    data = file.read(len(tail.mark) + READ_BYTES)
    return data[len(tail.mark) :] if data.startswith(tail.mark) else None


def _take_lines(
    data: bytes, tail: Tail, pod_uid: str, *, size: int, at_end: bool
) -> tuple[Tail, tuple[MetricPoint, ...]]:
    """The whole lines at the beginning of `data`, of a file of `size` bytes."""
    end = data.rfind(b"\n") + 1
    if not end and len(data) == MAX_LINE_BYTES:
        after, points = _begin_to_skip(tail, len(data)), _NO_POINTS
        end = len(data)
    else:
        if at_end and tail.offset + len(data) >= size:
            end = len(data)
        after, points = _take(data[:end], tail, _source(tail, pod_uid))
    return replace(after, mark=(tail.mark + data[max(0, end - _MARK_BYTES) : end])[-_MARK_BYTES:]), points


def _take(data: bytes, tail: Tail, source: str) -> tuple[Tail, tuple[MetricPoint, ...]]:
    points: list[MetricPoint] = []
    offset = tail.offset
    for line in _lines(data):
        if tail.skipping:
            tail = replace(tail, skipping=False)
        else:
            try:
                points.extend(metric_lines.parse(line, index=tail.lines, source=source, offset=offset))
            except BadLine as error:
                tail = _with_bad_line(tail, str(error))
        offset += len(line)
        tail = replace(tail, lines=tail.lines + 1)
    return replace(tail, offset=offset, points=tail.points + len(points)), tuple(points)


def _lines(data: bytes) -> list[bytes]:
    # Not splitlines: a lone carriage return ends no line.
    lines = [line + b"\n" for line in data.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def _begin_to_skip(tail: Tail, size: int) -> Tail:
    if not tail.skipping:
        tail = _with_bad_line(tail, f"longer than {MAX_LINE_BYTES} bytes")
    return replace(tail, offset=tail.offset + size, skipping=True)


def _with_bad_line(tail: Tail, why: str) -> Tail:
    first = tail.first_bad or f"{wire_path(tail.path)}:{tail.lines + 1}: {why[:_MAX_MESSAGE]}"
    return replace(tail, bad=tail.bad + 1, first_bad=first)


def _source(tail: Tail, pod_uid: str) -> str:
    name = f"{pod_uid}:{wire_path(tail.path)}"
    return f"{name}#{tail.generation}" if tail.generation else name
