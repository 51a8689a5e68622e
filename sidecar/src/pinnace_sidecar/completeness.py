"""Is a file complete? A ladder of answers, the surest first. Nothing in here looks at a file or a clock.

1. A contract: `<name>.done` lies beside it and is not older, or it was renamed into place out of an excluded name, or a
   complete `pinnace-manifest.json` names it, is not older, and agrees with its size.
2. The pod's writers have ended (`Ending`): cleanly, then what is there is what they wanted to write; not cleanly, then
   a file touched shortly before the end may be torn, and what was left alone for longer had settled.
3. Settle time: inode, size, mtime and ctime stayed the same over at least two scans and `settle_seconds`, and nobody is
   known to have it open for writing (ASK finds out, where the kernel tells us): an mmap writer changes nothing of all
   that for as long as it likes. Not for files that grow for as long as the writer lives (metric lines): each pause
   would make a version of them.
4. Whatever is said here, the buffer compares the file before and after reading it, and a file that changed meanwhile
   starts again.

IN_CLOSE_WRITE is no rung: it also fires for the truncated file of a killed writer.
"""

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from pinnace.records import WriterEnd

#: Fewer looks than this prove nothing about a pause between them.
MIN_LOOKS = 2


class Verdict(StrEnum):
    """What to do with a file now."""

    #: Still being written, or nobody can tell yet.
    WAIT = "wait"
    #: Find out whether somebody has it open for writing, and judge again.
    ASK = "ask"
    #: Ship it.
    COMPLETE = "complete"
    #: Ship it as suspect: its writer ended before the file was known to be complete.
    TORN = "torn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The end of the pod's writers: when we were told (seconds since the epoch) and how they ended, as far as known."""

    at: float
    writers: WriterEnd = WriterEnd.RUNNING


def writers_may_write(ending: Ending | None) -> bool:
    """Whether somebody may still be writing to the volume, as far as known."""
    return ending is None or ending.writers is WriterEnd.RUNNING


class Writer(StrEnum):
    """Whether somebody has a file open for writing, or mapped for it."""

    #: Nobody looked.
    UNASKED = "unasked"
    #: The kernel doesn't tell us: another user's file, or a file system that can't say.
    UNKNOWN = "unknown"
    NONE = "none"
    OPEN = "open"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of one file. Times in seconds; `modified_at` since the epoch."""

    modified_at: float
    unchanged_for: float = 0.0
    looks: int = 1
    marked: bool = False
    renamed: bool = False
    #: A complete manifest names it as it is.
    promised: bool = False
    writer: Writer = Writer.UNASKED
    #: True for files that are appended to for as long as the writer lives.
    grows: bool = False


def judge(evidence: Evidence, settle_seconds: float, ending: Ending | None) -> Verdict:
    """The ladder. `ending` is None until the writers are said to have ended."""
    if evidence.marked or evidence.renamed or evidence.promised:
        return Verdict.COMPLETE
    if ending is None:
        return _by_settle_time(evidence, settle_seconds)
    fresh = evidence.modified_at > ending.at - settle_seconds
    match ending.writers:
        case WriterEnd.RUNNING:
            # The silence of a fresh file proves nothing now: it may be that of a killed writer.
            return Verdict.WAIT if fresh else _by_settle_time(evidence, settle_seconds)
        case WriterEnd.CLEAN:
            return Verdict.COMPLETE
        case WriterEnd.FAILED | WriterEnd.UNKNOWN:
            return Verdict.TORN if fresh else Verdict.COMPLETE


def _by_settle_time(evidence: Evidence, settle_seconds: float) -> Verdict:
    if evidence.grows or evidence.looks < MIN_LOOKS or evidence.unchanged_for < settle_seconds:
        return Verdict.WAIT
    match evidence.writer:
        case Writer.UNASKED:
            return Verdict.ASK
        case Writer.OPEN:
            return Verdict.WAIT
        case Writer.NONE | Writer.UNKNOWN:
            return Verdict.COMPLETE
