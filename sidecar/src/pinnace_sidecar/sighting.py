"""A file on the volume that is not copied yet."""

from dataclasses import dataclass

from pinnace.records import FileState
from pinnace_sidecar.files import Fingerprint


@dataclass(slots=True)
class Sighting:
    """What is known of it. `since` is monotonic, `settled_at` seconds since the epoch."""

    path: str
    fingerprint: Fingerprint
    since: float
    looks: int = 1
    renamed: bool = False
    grows: bool = False
    #: Nothing but its writer, who has it open, keeps it from being complete.
    written: bool = False
    state: FileState = FileState.SEEN
    suspect: bool = False
    settled_at: float = 0.0
    #: Being copied, or waiting for another try at it.
    taken: bool = False
    #: How often reading it failed.
    failures: int = 0
    number: int = 0

    @property
    def unsettling(self) -> bool:
        """Whether nothing but the end of its writer makes it complete."""
        return self.grows or self.written

    def gives_way(self, found: Fingerprint) -> bool:
        """Whether a file that looks like this now leaves its place to others: who knows for how long it is written."""
        return self.state is FileState.SEEN and (self.unsettling or self.fingerprint != found)
