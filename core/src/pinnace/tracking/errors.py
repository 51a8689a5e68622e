"""What recording an iteration raises, besides ApiError at its begin and ValueError for a value that can't be recorded.

TrackingError
├── NotDelivered        the end came, and not everything had arrived; nothing is lost, `folder` has it
├── NotOpen             the iteration has ended, or belongs to another process
├── NoIteration         nothing tells which iteration is meant
├── SpoolError          a folder is no spool, or can't be written
└── SpoolBusy           another process has the spool
"""

from pathlib import Path

from pinnace.errors import PinnaceError


class TrackingError(PinnaceError):
    """Recording did not go as it should."""


class NotDelivered(TrackingError):
    """`folder` keeps what the API has not taken; `pinnace sync` of it takes it there. `reason` says why."""

    def __init__(self, message: str, *, folder: Path, reason: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.folder = folder
        self.reason = reason


class NotOpen(TrackingError):
    """It takes nothing more from here."""


class NoIteration(TrackingError):
    """There is none, or no word which."""


class SpoolError(TrackingError):
    """The folder is not what it should be."""


class SpoolBusy(SpoolError):
    """Somebody else is at it; later it can be read."""
