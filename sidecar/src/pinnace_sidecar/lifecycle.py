"""The life of a file as a pure state machine: a state and an event make the next state.

    seen → settled → buffered → uploaded → verified → recorded | suspect
             any state before these two ends → quarantined            excluded: never enters

A step back is possible in six places only, and each says why: CHANGED (written to before we had a copy), REFUTED (the
store does not hold what it acknowledged), UNSHARED (the object that it was to share is not recorded any more),
WITHDRAWN (the manifest of a set that never became whole was taken off the volume), RENEWED (quarantined content was
copied again) and CLEARED (a suspect file turned out to be complete). `seen`, `settled` and `excluded` are facts about
the volume, which remembers them for us; the journal begins with `buffered`. What has to be done for a file follows from
its state alone (`DUTIES`), so a restart needs to know nothing else.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from pinnace.errors import PinnaceError
from pinnace.records import FileState


class Event(StrEnum):
    """What happened to a file."""

    #: It looks different from the last scan, or changed while it was being copied.
    CHANGED = "changed"
    #: The completeness ladder said so.
    SETTLED = "settled"
    #: It disappeared from the volume before there was a copy.
    VANISHED = "vanished"
    #: A copy with digests is durable in the buffer.
    COPIED = "copied"
    #: The store acknowledged all bytes, or was found to have them already.
    STORED = "stored"
    #: What the store says it holds equals our digests.
    CONFIRMED = "confirmed"
    #: The store holds nothing or something else.
    REFUTED = "refuted"
    #: The API does not let its row point at another artifact's object.
    UNSHARED = "unshared"
    #: The copy in the buffer can't be read at the moment: the file is to be found anew, if it lies there.
    UNREAD = "unread"
    #: There is no copy in the buffer any more, or it is not what it was: the file is to be found anew.
    LOST = "lost"
    #: A manifest that waits for files of its set was written anew or removed.
    WITHDRAWN = "withdrawn"
    #: The API has the row.
    REGISTERED = "registered"
    #: A suspect file was found again, unchanged, and complete this time.
    CLEARED = "cleared"
    #: It can't be shipped, whatever is tried.
    REFUSED = "refused"
    #: There is a fresh copy of a quarantined content.
    RENEWED = "renewed"


class Duty(StrEnum):
    """What a file in some state waits for."""

    #: To settle.
    WATCH = "watch"
    #: To be copied into the buffer.
    COPY = "copy"
    #: To be sent to the store.
    SEND = "send"
    #: The store's word on what it holds.
    VERIFY = "verify"
    #: The row in the API.
    REGISTER = "register"


#: States without a duty are the ends.
DUTIES: Final[Mapping[FileState, Duty]] = MappingProxyType(
    {
        FileState.SEEN: Duty.WATCH,
        FileState.SETTLED: Duty.COPY,
        FileState.BUFFERED: Duty.SEND,
        FileState.UPLOADED: Duty.VERIFY,
        FileState.VERIFIED: Duty.REGISTER,
    }
)

#: None: nothing is kept of this version. An upload of ours is aborted before that, and before a quarantine.
_STEPS: Final[Mapping[tuple[FileState, Event], FileState | None]] = MappingProxyType(
    {
        (FileState.SEEN, Event.CHANGED): FileState.SEEN,
        (FileState.SEEN, Event.SETTLED): FileState.SETTLED,
        (FileState.SEEN, Event.VANISHED): None,
        (FileState.SETTLED, Event.CHANGED): FileState.SEEN,
        (FileState.SETTLED, Event.VANISHED): None,
        (FileState.SETTLED, Event.COPIED): FileState.BUFFERED,
        (FileState.SETTLED, Event.REFUSED): FileState.QUARANTINED,
        (FileState.BUFFERED, Event.STORED): FileState.UPLOADED,
        (FileState.BUFFERED, Event.UNREAD): FileState.BUFFERED,
        (FileState.BUFFERED, Event.LOST): FileState.QUARANTINED,
        (FileState.BUFFERED, Event.WITHDRAWN): None,
        (FileState.BUFFERED, Event.REFUSED): FileState.QUARANTINED,
        (FileState.UPLOADED, Event.CONFIRMED): FileState.VERIFIED,
        (FileState.UPLOADED, Event.REFUTED): FileState.BUFFERED,
        (FileState.UPLOADED, Event.REFUSED): FileState.QUARANTINED,
        (FileState.VERIFIED, Event.REGISTERED): FileState.RECORDED,
        (FileState.VERIFIED, Event.UNSHARED): FileState.BUFFERED,
        (FileState.VERIFIED, Event.REFUSED): FileState.QUARANTINED,
        (FileState.SUSPECT, Event.CLEARED): FileState.VERIFIED,
        (FileState.QUARANTINED, Event.RENEWED): None,
    }
)


class IllegalStep(PinnaceError):
    """An event that can't happen in this state: a defect of ours, never of the world."""


def step(state: FileState, event: Event, *, suspect: bool = False) -> FileState | None:
    """Where `event` brings a file that is in `state`; None: it is forgotten. `suspect` is how it was judged.

    Raises IllegalStep for a pair that can't happen.
    """
    try:
        after = _STEPS[state, event]
    except KeyError:
        raise IllegalStep(f"a file that is {state} can't be {event}") from None
    return FileState.SUSPECT if suspect and after is FileState.RECORDED else after


def through(state: FileState, events: Iterable[Event], *, suspect: bool = False) -> tuple[FileState, FileState | None]:
    """The state before the last of `events`, and the one after it; None: it is forgotten. Raises IllegalStep."""
    before: FileState = state
    after: FileState | None = state
    for event in events:
        assert after is not None
        before, after = after, step(after, event, suspect=suspect)
    return before, after
