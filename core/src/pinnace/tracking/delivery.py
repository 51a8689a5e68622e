"""From a spool to the API: each event by the calls that it stands for, in order, all of them harmless to repeat.

Where a delivery was broken off, by whatever, the next one goes on at the mark; what was delivered behind it is
delivered again. So an `end`, which locks the iteration, goes when the mark has been moved up to it.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import BinaryIO, Final, assert_never
from uuid import UUID, uuid5

from pinnace import ids
from pinnace.client import ApiError, Client, Conflict, Invalid, NotFound
from pinnace.records import (
    ENDED_STATES,
    ExperimentWrite,
    IterationPatch,
    IterationState,
    IterationWrite,
    MetricPoint,
    UploadWrite,
)
from pinnace.tracking.events import (
    Begin,
    End,
    Event,
    File,
    Linked,
    Metrics,
    Noted,
    Parameters,
    Surroundings,
    Tagged,
)
from pinnace.tracking.spool import Entry, Spool

#: Of each point: with the place of its line it tells a repeated send from a new point.
SOURCE: Final = "pinnace-sdk"
#: Up to here a file goes in one request.
WHOLE_BYTES: Final = 16 * 2**20
#: What breaks off in a longer one is sent again from the last of these.
PIECE_BYTES: Final = 64 * 2**20
_MAX_POINTS: Final = 5_000
#: The API's words for what takes nothing more, ever, and for what can be taken back from there.
_ENDED: Final = "ended"
_TRASHED: Final = "trashed"
#: How often an upload is begun anew whose time ran out, or that somebody else went on with.
_UPLOADS: Final = 3

_log = logging.getLogger(__name__)


class Delivery:
    """Takes a spool to the API; `spool` is marked as far as it has come."""

    def __init__(self, client: Client, spool: Spool, *, keep: bool) -> None:
        self._client = client
        self._spool = spool
        #: Whether files stay in the spool when the API has them.
        self._keep = keep
        self._id = spool.begin.id
        self.mark = spool.delivered

    def step(self) -> bool:
        """Deliver what comes next, some thousand points or one event; False when there is nothing.

        Raises ApiError: the same step is worth repeating when `is_worth_repeating`, for ever if need be.
        """
        lot = _lot(self._spool.entries(self.mark))
        if not lot:
            return False
        first = lot[0]
        match first.event:
            case ValueError() as error:
                self._spool.refuse(first, f"the line can't be understood: {error}")
            case Metrics():
                self._metrics(lot)
            case event:
                self._one(first, event)
        self.mark = lot[-1].end
        self._spool.mark(self.mark)
        if not self._keep and isinstance(first.event, File) and first.event.kept:
            self._spool.discard(first.event.kept)
        return True

    def _one(self, entry: Entry, event: Event) -> None:
        try:
            self._deliver(entry, event)
        except (Conflict, Invalid) as error:
            if isinstance(event, Begin) or error.code == _TRASHED:
                raise
            self._refuse(entry, error)
        except OSError as error:
            self._refuse(entry, error)

    def _refuse(self, entry: Entry, error: Exception) -> None:
        _log.error("event.refused iteration=%s reason=%s", self._id, error)
        self._spool.refuse(entry, str(error))

    def _deliver(self, entry: Entry, event: Event) -> None:
        match event:
            case Begin():
                self._begin(event)
            case Parameters(values=values):
                self._client.patch_iteration(self._id, IterationPatch(parameters=values))
            case Tagged(values=tags):
                self._client.patch_iteration(self._id, IterationPatch(tags=tags))
            case Noted(text=text):
                self._client.patch_iteration(self._id, IterationPatch(notes=text))
            case Surroundings(values=values):
                self._client.patch_iteration(self._id, IterationPatch(environment=values))
            case Linked():
                self._link(event)
            case File():
                self._file(entry, event)
            case End():
                self._end(event)
            case Metrics():
                self._metrics([entry])
            case _:
                assert_never(event)

    def _begin(self, event: Begin) -> None:
        write = IterationWrite(
            experiment_id=self._experiment(event),
            parameters=event.parameters,
            state=IterationState.RUNNING,
            started_at=event.at,
            name=event.name,
            notes=event.notes,
            parent_id=event.parent_id,
            tags=event.tags,
        )
        try:
            self._client.put_iteration(self._id, write)
        except Conflict as error:
            # It was begun and has ended: the mark got lost.
            if error.code != _ENDED or not self._is_there():
                raise

    def _experiment(self, event: Begin) -> UUID:
        """Of that name outside of a cluster: one that is there, else the one whose id follows from the name."""
        found = self._client.experiments(project=event.project, name=event.experiment, namespace="")
        there = [experiment.id for experiment in found if not experiment.namespace]
        derived = ids.experiment_id(event.project, event.experiment)
        if there:
            return derived if derived in there else there[-1]
        return self._client.put_experiment(derived, ExperimentWrite(project=event.project, name=event.experiment)).id

    def _is_there(self) -> bool:
        with suppress(NotFound):
            self._client.iteration(self._id)
            return True
        return False

    def _end(self, event: End) -> None:
        change = IterationPatch(state=event.state, ended_at=event.at)
        if event.error:
            change = IterationPatch(state=event.state, ended_at=event.at, error=event.error)
        try:
            self._client.patch_iteration(self._id, change)
        except Conflict as error:
            if error.code != _ENDED or self._client.iteration(self._id).state not in ENDED_STATES:
                raise
            _log.warning("iteration.ended-before iteration=%s", self._id)

    def _link(self, event: Linked) -> None:
        data = event.dataset
        identity = ids.dataset_id(data.project, data.name, data.digest)
        self._client.put_dataset(identity, data)
        self._client.use_dataset(self._id, identity, event.use)

    # --- metrics

    def _metrics(self, entries: Sequence[Entry]) -> None:
        try:
            self._client.put_metrics(self._id, [point for entry in entries for point in _points(entry)])
        except (Conflict, Invalid) as error:
            if error.code == _TRASHED:
                raise
            if len(entries) == 1 or error.code == _ENDED:
                for entry in entries:
                    self._refuse(entry, error)
                return
            half = len(entries) // 2
            self._metrics(entries[:half])
            self._metrics(entries[half:])

    # --- files

    def _file(self, entry: Entry, event: File) -> None:
        with self._content(event) as content:
            if event.size > WHOLE_BYTES:
                self._in_pieces(entry, event, content)
                return
            kind = event.content_type
            self._client.put_file(
                self._id, event.path, content, size=event.size, sha256=event.sha256, content_type=kind
            )

    def _in_pieces(self, entry: Entry, event: File, content: BinaryIO) -> None:
        for attempt in range(_UPLOADS):
            try:
                self._upload(entry, event, content, attempt)
            except (NotFound, Conflict) as error:
                if attempt == _UPLOADS - 1 or error.code not in ("offset-mismatch", "not-found"):
                    raise
            else:
                return

    def _content(self, event: File) -> BinaryIO:
        if event.kept:
            return self._spool.content(event.kept)
        content = open(event.source, "rb")  # noqa: PTH123, SIM115 - the caller closes it
        status = os.fstat(content.fileno())
        if (status.st_size, status.st_mtime_ns) != (event.size, event.modified_ns):
            content.close()
            raise OSError(f"{event.source} has been changed since it was logged with copy=False")
        return content

    def _upload(self, entry: Entry, event: File, content: BinaryIO, attempt: int) -> None:
        upload_id = uuid5(self._id, f"{entry.offset}:{event.path}" + (f":{attempt}" if attempt else ""))
        write = UploadWrite(
            path=event.path, size=event.size, sha256=event.sha256 or None, content_type=event.content_type
        )
        upload = self._client.put_upload(self._id, upload_id, write)
        offset = upload.received
        content.seek(offset)
        while upload.artifact_id is None:
            size = min(PIECE_BYTES, event.size - offset)
            if self._client.append_to_upload(self._id, upload_id, content, offset=offset, size=size) is not None:
                return
            offset += size


def is_worth_repeating(error: ApiError) -> bool:
    """Whether the same step may work at another time: not of an iteration that has ended or is gone."""
    if isinstance(error, Invalid):
        return error.field == "parent_id"  # which another process delivers
    return not isinstance(error, Conflict | NotFound)


def _lot(entries: Iterator[Entry]) -> list[Entry]:
    """The next event; of metrics as many as go into one request."""
    lot: list[Entry] = []
    points = 0
    for entry in entries:
        if not isinstance(entry.event, Metrics):
            return lot or [entry]
        points += len(entry.event.values)
        if lot and points > _MAX_POINTS:
            break
        lot.append(entry)
    return lot


def _points(entry: Entry) -> list[MetricPoint]:
    assert isinstance(entry.event, Metrics)
    event = entry.event
    return [
        MetricPoint(key=key, value=value, step=event.step, time=event.at, source=SOURCE, offset=entry.offset)
        for key, value in event.values.items()
    ]
