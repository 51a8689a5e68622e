"""Where what is said goes: into a spool alone, or into a spool that is delivered meanwhile."""

import errno
import logging
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from uuid import UUID

from pinnace import ids
from pinnace.client import Client
from pinnace.tracking.errors import NotDelivered
from pinnace.tracking.events import End, Event, File
from pinnace.tracking.sender import Sender
from pinnace.tracking.spool import Spool

_log = logging.getLogger(__name__)


class Recorder(Protocol):
    """Takes what an iteration says. Nothing but `flush` and `close` ever waits for a network."""

    #: Where it is kept, for people.
    folder: Path

    def record(self, event: Event) -> None:
        """Raises TypeError for what JSON can't hold."""
        ...

    def file(self, path: Path, name: str, content_type: str, *, copy: bool) -> UUID | None:
        """Take a file as the artifact `name`; its id where the content is known by now. Raises OSError."""
        ...

    def flush(self, seconds: float) -> bool:
        """Make durable what was said, and deliver it where that is done; whether all of it is delivered."""
        ...

    def close(self, end: End, seconds: float) -> None:
        """The last word. Raises NotDelivered."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether somebody else has ended the iteration."""
        ...


class SpoolRecorder:
    """Offline: the spool stays, for `pinnace sync`."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.folder = spool.folder

    def record(self, event: Event) -> None:
        self.spool.append(event)

    def file(self, path: Path, name: str, content_type: str, *, copy: bool) -> UUID | None:
        if copy:
            try:
                kept = self.spool.keep(path)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                _log.warning("artifact.not-copied path=%s reason=%s: it must stay as it is", path, error)
            else:
                self.record(
                    File(path=name, size=kept.size, kept=kept.name, sha256=kept.sha256, content_type=content_type)
                )
                return ids.artifact_id(self.spool.begin.id, name, kept.sha256)
        status = path.stat()
        self.record(
            File(
                path=name,
                size=status.st_size,
                source=str(path.absolute()),
                modified_ns=status.st_mtime_ns,
                content_type=content_type,
            )
        )
        return None

    def flush(self, seconds: float) -> bool:
        del seconds
        self.spool.flush()
        return False

    def close(self, end: End, seconds: float) -> None:
        self.record(end)
        try:
            self.flush(seconds)
        except OSError as error:
            raise self._not_delivered(f"the disk does not take it: {error}") from error
        finally:
            self.spool.close()
        if self.spool.lost:
            raise self._not_delivered("neither disk nor memory had room")

    @property
    def is_closed(self) -> bool:
        return False

    def _not_delivered(self, reason: str) -> NotDelivered:
        lost = f", and {self.spool.lost} events had room nowhere" if self.spool.lost else ""
        return NotDelivered(
            f"iteration {self.spool.begin.id}: not everything was delivered: {reason}{lost}",
            folder=self.folder,
            reason=reason,
            hint=f"it lies in {self.folder}: run `pinnace sync {self.folder}`",
        )


class OnlineRecorder(SpoolRecorder):
    """The spool is delivered while it grows, and goes when the API has all of it."""

    def __init__(self, spool: Spool, client: Client) -> None:
        super().__init__(spool)
        self._client = client
        self._sender = Sender(client, spool)

    def start(self) -> None:
        """Raises ApiError where no later time will be better; then nothing stays."""
        try:
            self._sender.begin()
        except BaseException:
            self.spool.remove()
            self._client.close()
            raise
        self._sender.start()

    def flush(self, seconds: float) -> bool:
        self._sender.wake()
        if self._sender.wait(seconds):
            return True
        with suppress(OSError):  # which is said at the end, if it lasts
            self.spool.flush()
        return False

    def close(self, end: End, seconds: float) -> None:
        self.record(end)
        done = self._sender.finish(seconds)
        self._client.close()
        if not done or self.spool.lost:
            raise self._not_delivered(str(self._sender.failure or f"it takes longer than {seconds:g} s"))
        if refused := self.spool.refused:
            self.spool.close()
            raise NotDelivered(
                f"iteration {self.spool.begin.id}: the API refused {len(refused)} of what was said, for instance: "
                f"{refused[0]}",
                folder=self.folder,
                reason=refused[0],
                hint=f"all of them, with reasons, are in {self.folder}/refused.jsonl",
            )
        self.spool.remove()

    @property
    def is_closed(self) -> bool:
        return self._sender.is_closed
