"""What becomes of a file whose copy in the buffer is worth nothing, or can't be read.

A disk that fails may work again, so a copy that can't be read is tried again, and made again meanwhile if its file
still lies there. The only copy of a file is given up where nobody can wait for it: its room is wanted, or time is up.
"""

from collections.abc import Callable
from typing import Final

from pinnace_sidecar.journal import Journal, JournaledFile
from pinnace_sidecar.lifecycle import Event
from pinnace_sidecar.store_calls import CopyDamaged, CopyUnreadable
from pinnace_sidecar.transfer import MAX_UNREAD, Transfer, Verdict

#: A file that still lies there has been copied again by now, or can't be while its old copy is in the way.
_MOST_UNREAD: Final = 2 * MAX_UNREAD


class LostCopies:
    """`lies_there` says whether a file is on the volume as it was; `look_again` has the volume looked at, and
    `copy_again` removes what is left of a copy before that. `can_wait`: whether there are room and time.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        lies_there: Callable[[JournaledFile], bool],
        look_again: Callable[[], None],
        copy_again: Callable[[JournaledFile], None],
        can_wait: Callable[[], bool],
    ) -> None:
        self._journal = journal
        self._lies_there = lies_there
        self._look_again = look_again
        self._copy_again = copy_again
        self._can_wait = can_wait

    def judge(self, transfer: Transfer, error: CopyDamaged | CopyUnreadable) -> None:
        """Sets the transfer's verdict, or lets it go on."""
        if (transfer.unread and not transfer.unreadable) or self.is_copied_again(transfer):
            return
        lies_there = self._lies_there(transfer.file)
        if transfer.unread and self._can_wait() and not (lies_there and transfer.unread >= _MOST_UNREAD):
            if lies_there:
                self._journal.files.apply(transfer.file.id, Event.UNREAD)
                self._look_again()
            return
        then = "; it was to be copied again" if lies_there else ", and the file is gone from the volume"
        transfer.verdict = Verdict(Event.LOST, CopyDamaged.code, f"{error}{then}")

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
            self._copy_again(file)
