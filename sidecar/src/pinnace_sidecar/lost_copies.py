"""What becomes of a file whose copy in the buffer is worth nothing, or can't be read.

A disk that fails may work again, so a copy that can't be read is tried again, and made again meanwhile if its file
still lies there. The only copy of a file is given up where nobody can wait for it: its room is wanted, or time is up.
"""

from collections.abc import Callable
from typing import Final

from pinnace_sidecar.copier import Copier
from pinnace_sidecar.files import Volume
from pinnace_sidecar.intake import Intake
from pinnace_sidecar.journal import Journal, JournaledFile
from pinnace_sidecar.lifecycle import Event
from pinnace_sidecar.store_calls import CopyDamaged, CopyUnreadable
from pinnace_sidecar.transfer import MAX_UNREAD, Transfer, Verdict

#: After some minutes of pauses. A file that still lies there has been copied again by now, or can't be while its old
#: copy is in the way.
_MOST_UNREAD: Final = 2 * MAX_UNREAD


class LostCopies:
    """`is_late`: whether only the time is left to say what became of everything."""

    def __init__(
        self, *, journal: Journal, volume: Volume, intake: Intake, copier: Copier, is_late: Callable[[], bool]
    ) -> None:
        self._journal = journal
        self._volume = volume
        self._intake = intake
        self._copier = copier
        self._is_late = is_late

    def judge(self, transfer: Transfer, error: CopyDamaged | CopyUnreadable) -> None:
        """Sets the transfer's verdict, or lets it go on."""
        unread = isinstance(error, CopyUnreadable)
        if (unread and not transfer.unreadable) or self.is_copied_again(transfer):
            return
        lies_there = self._lies_there(transfer.file)
        if unread and not self._is_in_the_way(transfer, lies_there=lies_there):
            if lies_there:
                self._journal.files.apply(transfer.file.id, Event.UNREAD)
                self._intake.look_again()
            return
        then = "; it was to be copied again" if lies_there else ", and the file is gone from the volume"
        transfer.verdict = Verdict(Event.LOST, CopyDamaged.code, f"{error}{then}")

    def _is_in_the_way(self, transfer: Transfer, *, lies_there: bool) -> bool:
        return self._is_late() or (transfer.unread >= _MOST_UNREAD and (lies_there or self._copier.needs_room))

    def _lies_there(self, file: JournaledFile) -> bool:
        return self._volume.fingerprint(file.path) == file.fingerprint

    def is_copied_again(self, transfer: Transfer) -> bool:
        """Whether the file was found anew with this content: what is known of its copy was true of the one before."""
        file = self._journal.files.content(transfer.file.artifact_id)
        if file is None or file.fingerprint == transfer.file.fingerprint:
            return False
        transfer.begin_again(file)
        return True

    def ended(self, file: JournaledFile) -> None:
        """It is quarantined, for as long as nobody finds it anew."""
        if self._lies_there(file):
            self._copier.copy_again(file)
