"""In a pod: everything goes to the artifacts volume, and the sidecar brings it ashore. No token, no network.

Metrics are lines of a file that the sidecar reads as it grows; a file is an artifact when it is complete; all else are
lines of a file that ships at the end. How the iteration ends is for the operator to see.
"""

import hashlib
import logging
import os
import threading
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec

from pinnace import artifacts, ids
from pinnace.naming import SDK_EVENTS_NAME, SDK_METRICS_NAME
from pinnace.tracking.events import End, Event, File, Metrics, to_line

_COPY_BYTES: Final = 2**20
_ENCODER: Final = msgspec.json.Encoder()

_log = logging.getLogger(__name__)


class VolumeRecorder:
    """Several processes of a pod may write at once: each line is one write at the end of the file."""

    def __init__(self, iteration: UUID, folder: Path) -> None:
        self.folder = folder
        self._iteration = iteration
        self._lost = 0
        self._mutex = threading.Lock()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._metrics = os.open(folder / SDK_METRICS_NAME, flags, 0o644)
        self._events = os.open(folder / SDK_EVENTS_NAME, flags, 0o644)

    def record(self, event: Event) -> None:
        if isinstance(event, Metrics):
            fields: dict[str, Any] = {"step": event.step, "time": event.at, **event.values}
            line = _ENCODER.encode(fields) + b"\n"
        else:
            line = to_line(event)
        with self._mutex:
            self._write(self._metrics if isinstance(event, Metrics) else self._events, line)

    def file(self, path: Path, name: str, content_type: str, *, copy: bool) -> UUID | None:
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.resolve() == target.resolve():
            artifacts.complete(target)
            return None
        if not copy and path.resolve().is_relative_to(self.folder.resolve()):
            raise ValueError(f"{path} lies on the artifacts volume as another name than {name!r}: leave the name out")
        digest, size = hashlib.sha256(), 0
        with path.open("rb") as content, artifacts.writing(target) as written:
            while block := content.read(_COPY_BYTES):
                digest.update(block)
                written.write(block)
                size += len(block)
        sha256 = digest.hexdigest()
        self.record(File(path=name, size=size, sha256=sha256, content_type=content_type))
        return ids.artifact_id(self._iteration, name, sha256)

    def _write(self, file: int, line: bytes) -> None:
        """A full volume is no reason to end a training."""
        try:
            os.write(file, line)
        except OSError as error:
            self._lost += 1
            if self._lost == 1:
                _log.error("volume.full folder=%s reason=%s: what is said is lost", self.folder, error)

    def flush(self, seconds: float) -> bool:
        del seconds
        os.fsync(self._metrics)
        os.fsync(self._events)
        return False

    def close(self, end: End, seconds: float) -> None:
        self.record(end)
        self.flush(seconds)
        with self._mutex:
            for file in (self._metrics, self._events):
                os.close(file)
            # Whoever comes late writes nowhere, and not into the next files that get these numbers.
            self._metrics = self._events = -1

    @property
    def is_closed(self) -> bool:
        return False
